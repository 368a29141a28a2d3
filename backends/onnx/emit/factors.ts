/** Contractions scaled by a constant: Gemm and FusedMatMul apply it for free as alpha. */
import { coreOf, type Graph, isConstant, type Node, nodesOf, ops, usersOf } from "../../../compiler/index.ts";

/** Maps each contraction whose only user multiplies it by a constant scalar to that scalar. */
export function productFactors(graph: Graph): Map<Node, number> {
  const users = usersOf(nodesOf(graph));
  const outputs = new Set(graph.outputs.map((o) => o.node));
  const factors = new Map<Node, number>();
  for (const [node, by] of users) {
    const [only] = by;
    if (coreOf(node)?.kind !== "contraction" || by.length !== 1 || !ops.is(ops.mul, only) || outputs.has(node))
      continue;
    const other = only!.operands.find((o) => o !== node);
    if (other && isConstant(other) && typeof other.attrs.value === "number") factors.set(node, other.attrs.value);
  }
  return factors;
}
