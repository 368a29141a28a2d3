/** The cost of a graph, counted from its nodes: parameters, multiply-accumulates, node counts by op. */

import { UsageError } from "../diagnostics/error.ts";
import { bindDim, type Dim, type Sizes } from "../ir/dim.ts";
import { deviceElementBytes, dtypeBytes } from "../ir/dtype.ts";
import { type Graph, nodesOf } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isBuffer, isParameter } from "../ir/op.ts";
import { elementsOf, type TensorType } from "../ir/type.ts";
import { flopsOf, workOf } from "../ir/work.ts";

export interface ParameterCount {
  /** Elements of all learned parameters. */
  readonly parameters: number;
  readonly tensors: number;
  /** Elements of buffers, stored with the parameters but not learned, such as running statistics. */
  readonly buffers: number;
  /** Bytes of parameters and buffers. */
  readonly bytes: number;
  /** Parameter elements by the first component of the path. */
  readonly byGroup: Readonly<Record<string, number>>;
}

export function countParameters(graph: Pick<Graph, "inputs">): ParameterCount {
  const byGroup: Record<string, number> = {};
  let [parameters, tensors, buffers, bytes] = [0, 0, 0, 0];
  for (const node of graph.inputs.filter(isParameter)) {
    const elements = known(elementsOf(node.type), {}, node);
    bytes += elements * dtypeBytes[node.type.dtype];
    if (isBuffer(node)) {
      buffers += elements;
      continue;
    }
    const group = String(node.attrs.name).split(".")[0]!;
    byGroup[group] = (byGroup[group] ?? 0) + elements;
    parameters += elements;
    tensors += 1;
  }
  return { parameters, tensors, buffers, bytes, byGroup };
}

export interface NodeCost {
  /** Multiply-accumulates of contractions and attention. */
  readonly macs: number;
  /** Two per multiply-accumulate, plus other operations. */
  readonly flops: number;
  /** Bytes of the operands and of the result. */
  readonly bytes: number;
}

/** The cost of one node at given sizes. */
export function costOf(node: Node, sizes: Sizes = {}): NodeCost {
  const bytesOf = (t: TensorType) => known(elementsOf(t), sizes, node) * deviceElementBytes(t.dtype);
  return {
    macs: known(workOf(node).macs, sizes, node),
    flops: known(flopsOf(node), sizes, node),
    bytes: [...node.operands.map((o) => o.type), node.type].reduce((n, t) => n + bytesOf(t), 0),
  };
}

export const countMacs = (graph: Graph, sizes: Sizes): number =>
  nodesOf(graph).reduce((total, node) => total + known(workOf(node).macs, sizes, node), 0);

/** Node counts by op, the most frequent first. */
export function countOps(graph: Graph): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { op } of nodesOf(graph)) counts.set(op, (counts.get(op) ?? 0) + 1);
  return Object.fromEntries([...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)));
}

function known(dim: Dim, sizes: Sizes, node: Node): number {
  const bound = bindDim(dim, sizes);
  if (typeof bound === "number") return bound;
  throw new UsageError(`counting ${node.op} needs a number for the size ${bound}`);
}
