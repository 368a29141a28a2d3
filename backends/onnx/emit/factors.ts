/**
 * What follows a contraction and needs no node of its own: Gemm and FusedMatMul scale for free, and Gemm adds a vector.
 */
import { coreOf, type Graph, isConstant, type Node, nodesOf, ops, usersOf } from "../../../compiler/index.ts";

/** Maps each contraction whose only user multiplies it by a constant scalar to that scalar. */
export function productFactors(graph: Graph): Map<Node, number> {
  const factors = new Map<Node, number>();
  for (const [node, user] of onlyUsers(graph)) {
    const other = ops.is(ops.mul, user) ? user.operands.find((o) => o !== node) : undefined;
    if (other && isConstant(other) && typeof other.attrs.value === "number") factors.set(node, other.attrs.value);
  }
  return factors;
}

/** The contractions with one use, which is no output: a node may take their place. */
export const productsUsedOnce = (graph: Graph): ReadonlySet<Node> => new Set(onlyUsers(graph).keys());

/** The user of each contraction that has one and is not an output. */
function onlyUsers(graph: Graph): Map<Node, Node> {
  const outputs = new Set(graph.outputs.map((o) => o.node));
  const users = [...usersOf(nodesOf(graph))];
  const alone = users.filter(
    ([node, by]) => coreOf(node)?.kind === "contraction" && by.length === 1 && !outputs.has(node),
  );
  return new Map(alone.map(([node, [user]]) => [node, user!]));
}
