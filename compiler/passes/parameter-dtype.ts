/** The storage dtype of parameters, as opposed to the dtype they are computed in. */

import type { DType } from "../ir/dtype.ts";
import { type Graph, isGraphInput, makeGraph, rewriteNodes } from "../ir/graph.ts";
import { intern, type Node } from "../ir/node.ts";
import { isParameter } from "../ir/op.ts";
import { cast } from "../ops/index.ts";

/**
 * The graph with its f32 matrices stored as `dtype` and cast where they are used, so that weights take half the memory
 * while sums stay in f32. Parameters of one axis are kept: they are small, and a running variance may exceed f16. So
 * are those that the graph updates, as f16 would lose small steps, and those for which `which` is false.
 *
 *     parameter w : f32[..]   becomes   cast (parameter w : f16[..]) to f32
 */
export function keepParametersAs(
  graph: Graph,
  dtype: Extract<DType, "f32" | "f16">,
  which: (parameter: Node) => boolean = () => true,
): Graph {
  if (dtype === "f32") return graph;
  const updated = new Set(Object.values(graph.updates));
  const narrowed = (node: Node) =>
    isParameter(node) &&
    node.type.dtype === "f32" &&
    node.type.axes.length > 1 &&
    !updated.has(String(node.attrs.name)) &&
    which(node);
  const stored = (node: Node) => storedAs(node, dtype);
  const roots = graph.outputs.map((o) => o.node);
  const result = rewriteNodes(roots, (node) => (narrowed(node) ? cast(stored(node), "f32") : node));
  const outputs = graph.outputs.map(({ name, node }) => ({ name, node: result.get(node)! }));
  const declared = graph.inputs.map((n) => (narrowed(n) ? stored(n) : n)).filter(isGraphInput);
  return makeGraph(graph.name, outputs, declared, graph.updates);
}

const storedAs = (node: Node, dtype: DType): Node =>
  intern("parameter", [], { ...node.attrs, dtype }, { ...node.type, dtype }, node.birth, node.path);

/** The f32 value of a parameter stored as f16. */
export const halfParameter = (node: Node): Node => cast(storedAs(node, "f16"), "f32");
