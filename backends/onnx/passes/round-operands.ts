/** The reference graph for verifying a file with dynamically quantized matmul operands. */
import { type Graph, type Node, ops, rewriteGraph, withOperands } from "../../../compiler/index.ts";
import type { Product } from "../emit/emission.ts";
import { roundedToBytes } from "../import/index.ts";

/** The graph with the given matmul operands fake-quantized in float, rounding as DynamicQuantizeLinear does. */
export function roundOperands(graph: Graph, products: readonly Product[]): Graph {
  const operands = new Map<Node, Set<number>>();
  for (const { node, operand } of products) operands.set(node, (operands.get(node) ?? new Set()).add(operand));
  return rewriteGraph(graph, (node, original) => {
    const rounded = operands.get(original);
    if (!rounded) return node;
    return withOperands(
      node,
      node.operands.map((o, i) => (rounded.has(i) ? inSteps(o) : o)),
    );
  });
}

function inSteps(x: Node): Node {
  const { units, step, zero } = roundedToBytes(x);
  return ops.mul(ops.sub(units, zero), step);
}
