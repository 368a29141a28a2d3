/** Weights as a model's initializers draw them. */
import {
  type Distribution,
  elementCount,
  type Graph,
  inputName,
  type Node,
  type SizedAxis,
} from "../compiler/index.ts";
import { drawingThreads } from "./random/drawing-threads.ts";
import { initialStream, initialValue } from "./training/state.ts";
import { permute, type Weights } from "./weights.ts";

/** Weights as a graph's initializers draw them for a seed. Whole tensors are drawn here, pieces by all cores. */
export function drawnWeights(graph: Graph, seed: number): Weights {
  const nodes = new Map(graph.inputs.filter((n) => n.op === "parameter").map((n) => [inputName(n), n]));
  const threads = drawingThreads();
  return {
    read: async (parameter) => initialValue(nodes.get(parameter)!, seed),
    dtypeOf: () => "F32",
    async *pieces(parameter, order, dtype) {
      const node = nodes.get(parameter)!;
      const draw = drawOf(node);
      const isMoved = node.type.axes.some((a, i) => a.name !== order[i]);
      if (isMoved || draw.count < worthThreads) yield permute(initialValue(node, seed), order).data;
      else yield* threads.draw({ ...draw, seed, dtype });
    },
    report: "",
    dispose: () => threads.dispose(),
  };
}

/** Values from which on a tensor is drawn by threads: fewer are drawn before the threads have started. */
const worthThreads = 2 ** 20;

const drawOf = (node: Node) => ({
  distribution: node.attrs.init as unknown as Distribution,
  stream: initialStream(node),
  count: elementCount(node.type.axes as readonly SizedAxis[]),
});
