/** What a node computes, by its record: multiply-accumulates and other operations, as sizes that may be open. */
import { addDims, type Dim, mulDims } from "./dim.ts";
import type { Node } from "./node.ts";
import { opRecord, type Work } from "./op.ts";
import { elementsOf } from "./type.ts";

/** What one node computes by its record, by itself: fused ops that share a product count it each. */
export function workOf(node: Node): Work {
  const record = opRecord(node.op);
  const elementwise: Work = { macs: 0, others: record.kind === "elementwise" ? elementsOf(node.type) : 0 };
  const operands = node.operands.map((o) => o.type);
  return record.work?.(operands, node.attrs, node.type) ?? elementwise;
}

/** Operations of one node: two for each multiply-accumulate, and what else it computes. */
export function flopsOf(node: Node): Dim {
  const { macs, others } = workOf(node);
  return addDims(mulDims(2, macs), others);
}
