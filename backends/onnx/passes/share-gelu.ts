/**
 * gelu(x) -> x · Φ(x) where the graph already has Φ(x) for the gradient, so that the error function, most of the cost,
 * is computed once.
 */
import { type Graph, type Node, nodesOf, ops, type Pass, rewriteGraph } from "../../../compiler/index.ts";

export const shareGelu: Pass = { name: "share-gelu", run: share };

function share(graph: Graph): Graph {
  const present = new Set(nodesOf(graph));
  return rewriteGraph(graph, (node, original) => {
    if (!ops.is(ops.gelu, node) || !present.has(normalCdf(original.operands[0]!))) return node;
    const x = node.operands[0]!;
    return ops.mul(x, normalCdf(x));
  });
}

/** Φ(x), in the form that gelu's gradient uses. */
const normalCdf = (x: Node): Node => ops.mul(0.5, ops.add(1, ops.erf(ops.mul(x, Math.SQRT1_2))));
