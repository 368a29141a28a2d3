/** What a graph costs, counted from its nodes: parameters, multiply-accumulates, operations by name. */

import { UsageError } from "../diagnostics/error.ts";
import { bindDim, type Dim, productOfDims, type Sizes } from "../ir/dim.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import { type Graph, nodesOf } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { elementsOf, findAxis } from "../ir/type.ts";

export interface ParameterCount {
  /** Elements of all parameters. */
  readonly parameters: number;
  readonly tensors: number;
  readonly bytes: number;
  /** Elements by the first part of the path. */
  readonly byGroup: Readonly<Record<string, number>>;
}

export function countParameters(graph: Graph): ParameterCount {
  const nodes = graph.inputs.filter((n) => n.op === "parameter");
  const byGroup: Record<string, number> = {};
  let [parameters, bytes] = [0, 0];
  for (const node of nodes) {
    const elements = known(elementsOf(node.type), {}, node);
    const group = String(node.attrs.name).split(".")[0]!;
    byGroup[group] = (byGroup[group] ?? 0) + elements;
    parameters += elements;
    bytes += elements * dtypeBytes[node.type.dtype];
  }
  return { parameters, tensors: nodes.length, bytes, byGroup };
}

/** Multiply-accumulates of one node: contractions and attention; everything else counts as none. */
function macsOf(node: Node, sizes: Sizes): number {
  const count = (dims: readonly Dim[]) => known(productOfDims(dims), sizes, node);
  if (node.op === "contract") {
    const over = node.attrs.over as string[];
    return count([elementsOf(node.type), ...over.map((n) => findAxis(node.operands[0]!.type, n)!.size)]);
  }
  if (!node.op.startsWith("attention")) return 0;
  return attentionMacs(node, count);
}

/** Products over the [row, key] pairs: one for the logits, and those that the op at hand makes of them. */
function attentionMacs(node: Node, count: (dims: readonly Dim[]) => number): number {
  const [q, k, v] = [node.operands[0]!.type, node.operands[1]!.type, node.operands[2]?.type];
  const [dot, over] = [node.attrs.dot as string, node.attrs.over as string];
  const pairs = [
    ...q.axes.filter((a) => a.name !== dot).map((a) => a.size),
    ...k.axes.filter((a) => a.name !== dot && !findAxis(q, a.name)).map((a) => a.size),
  ];
  const width = [findAxis(q, dot)!.size];
  const own = (v?.axes ?? [])
    .filter((a) => a.name !== over && (a.name === dot || !findAxis(q, a.name)))
    .map((a) => a.size);
  const logits = count([...pairs, ...width]);
  if (node.op === "attention_lse") return logits;
  const mixing = count([...pairs, ...own]);
  if (node.op === "attention") return logits + mixing;
  return node.op === "attention_grad_v" ? logits + mixing : 2 * logits + mixing;
}

export const countMacs = (graph: Graph, sizes: Sizes): number =>
  nodesOf(graph).reduce((total, node) => total + macsOf(node, sizes), 0);

/** Nodes by op, the most frequent first. */
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
