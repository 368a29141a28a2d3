/** Products that are scaled by a number: Gemm and FusedMatMul do it for nothing. */
import { type Graph, type Node, nodesOf, usersOf } from "../../../compiler/index.ts";

/** Each contraction whose only user multiplies it by a constant scalar, with that number. */
export function productFactors(graph: Graph): Map<Node, number> {
  const users = usersOf(nodesOf(graph));
  const outputs = new Set(graph.outputs.map((o) => o.node));
  const factors = new Map<Node, number>();
  for (const [node, by] of users) {
    const [only] = by;
    if (node.op !== "contract" || by.length !== 1 || only!.op !== "mul" || outputs.has(node)) continue;
    const other = only!.operands.find((o) => o !== node);
    if (other?.op === "constant" && typeof other.attrs.value === "number") factors.set(node, other.attrs.value);
  }
  return factors;
}
