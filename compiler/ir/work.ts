/** Operation counts of nodes, from their records; they may be symbolic. */
import { addDims, type Dim, mulDims } from "./dim.ts";
import type { Node } from "./node.ts";
import { opRecord, type Work } from "./op.ts";
import { elementsOf } from "./type.ts";

/** The work of one node on its own: fused ops that share a product each count it. */
export function workOf(node: Node): Work {
  const record = opRecord(node.op);
  const elementwise: Work = { macs: 0, others: record.kind === "elementwise" ? elementsOf(node.type) : 0 };
  const operands = node.operands.map((o) => o.type);
  return record.work?.(operands, node.attrs, node.type) ?? elementwise;
}

/** Floating-point operations of one node: two per multiply-accumulate, plus the others. */
export function flopsOf(node: Node): Dim {
  const { macs, others } = workOf(node);
  return addDims(mulDims(2, macs), others);
}
