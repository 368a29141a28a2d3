/** Weights drawn by a model's initializers. */
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

/** Weights drawn by a graph's initializers for a seed; large tensors are drawn on all cores. */
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

/**
 * Elements from which on a tensor is drawn on threads; smaller ones are drawn before the threads would have started.
 */
const worthThreads = 2 ** 20;

const drawOf = (node: Node) => ({
  distribution: node.attrs.init as unknown as Distribution,
  stream: initialStream(node),
  count: elementCount(node.type.axes as readonly SizedAxis[]),
});
