/** Weights as a model's initializers draw them. */
import { drawingThreads } from "#host";
import {
  allocate,
  type Distribution,
  type DType,
  elementCount,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  isParameter,
  type Node,
  type SizedAxis,
} from "../compiler/index.ts";
import { storedAs } from "./safetensors/stored-dtype.ts";
import { initialStream, initialValue } from "./training/state.ts";
import { asFloat, permute, type Weights } from "./weights.ts";

/** Weights as a graph's initializers draw them for a seed: large ones by all cores. */
export function drawnWeights(graph: Graph, seed: number): Weights {
  const nodes = new Map(graph.inputs.filter(isParameter).map((n) => [inputName(n), n]));
  const threads = drawingThreads();
  const drawWhole = async (node: Node, dtype: DType): Promise<HostTensor> => {
    const draw = drawOf(node);
    const data = allocate(dtype, draw.count);
    const bytes = new Uint8Array(data.buffer as ArrayBuffer);
    let at = 0;
    for await (const piece of threads.draw({ ...draw, seed, dtype: storedAs[dtype] })) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return hostTensor(dtype, node.type.axes as readonly SizedAxis[], data);
  };
  return {
    read: async (parameter, dtype = "f32") => {
      const node = nodes.get(parameter)!;
      if (drawOf(node).count < worthThreads) return asFloat(parameter, initialValue(node, seed), dtype);
      return await drawWhole(node, dtype);
    },
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
