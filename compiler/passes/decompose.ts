/** Replaces composites by what they are made of, but for those that the target has something better for. */
import { type Graph, rewriteGraph, topological, withOperands } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { opRecord } from "../ir/op.ts";
import { transpose } from "../ops/index.ts";

/** Decomposes every node that has a decomposition and that `keep` does not claim, repeatedly. */
export const decompose = (graph: Graph, keep: (node: Node) => boolean): Graph =>
  rewriteGraph(graph, (node) => lower(node, keep));

/** A decomposition may itself contain composites; the operands are already lowered. */
function lower(node: Node, keep: (node: Node) => boolean): Node {
  const record = opRecord(node.op);
  if (!record.decompose || keep(node)) return node;
  // Builders order axes as they come; the composite's own order is what its users and outputs count on.
  const order = node.type.axes.map((a) => a.name);
  const body = transpose(record.decompose(node.operands, node.attrs, node.type), order);
  const known = new Set(topological(node.operands));
  const map = new Map<Node, Node>();
  for (const inner of topological([body])) {
    if (known.has(inner)) map.set(inner, inner);
    else
      map.set(
        inner,
        lower(
          withOperands(
            inner,
            inner.operands.map((o) => map.get(o)!),
          ),
          keep,
        ),
      );
  }
  return map.get(body)!;
}
