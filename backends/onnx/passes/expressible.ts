/** Rejects a graph with ops that have neither an operator in the opset nor a decomposition, reporting all of them. */
import {
  type Graph,
  isGraphInput,
  locationOf,
  type Node,
  nodesOf,
  opRecord,
  type Pass,
  printLocation,
  UnsupportedError,
} from "../../../compiler/index.ts";
import { isExpressible } from "../emit/table.ts";
import type { EmitOptions } from "../options.ts";

export const expressible = (options: EmitOptions): Pass => ({
  name: "expressible",
  needs: ["decompose"],
  run: (graph) => {
    assertExpressible(graph, options);
    return graph;
  },
});

function assertExpressible(graph: Graph, options: EmitOptions): void {
  const wrong = new Map<string, Node[]>();
  for (const node of nodesOf(graph)) {
    if (isGraphInput(node) || isExpressible(node, options)) continue;
    wrong.set(node.op, [...(wrong.get(node.op) ?? []), node]);
  }
  if (wrong.size === 0) return;
  const lines = [...wrong].map(([op, nodes]) => {
    const since = opRecord(op).onnx?.since;
    const why = since === undefined ? "it has no ONNX operator and no decomposition" : `it needs opset ${since}`;
    return `  ${op}, ${nodes.length === 1 ? "once" : `${nodes.length} times`}, first at ${printLocation(locationOf(nodes[0]!.birth))}: ${why}`;
  });
  throw new UnsupportedError(
    `graph @${graph.name} cannot be expressed in ONNX opset ${options.opset}:\n${lines.join("\n")}`,
  );
}
