/** A model's weights in files: heddle's own names and shapes, or a published layout that a model's rules describe. */
import {
  elementCount,
  type Graph,
  type HostData,
  type HostTensor,
  hostTensor,
  inputName,
  type SizedAxis,
} from "../compiler/index.ts";
import { fileError, quoted } from "./file-errors.ts";
import { describeMatch, matchTensors, requireMatch } from "./safetensors/match.ts";
import { openSafetensors, type SafetensorsReader } from "./safetensors/reader.ts";
import { isReadableAs } from "./safetensors/stored-dtype.ts";
import type { TensorToWrite } from "./safetensors/writer.ts";

/** Where one parameter lies in a file: its name and shape there, and the parameter's axes in stored order. */
export interface StoredParameter {
  readonly parameter: string;
  readonly name: string;
  readonly shape: readonly number[];
  readonly order: readonly string[];
}

/** The stored types of weights. */
export type FloatDType = "F64" | "F32" | "F16" | "BF16";

/** Weights that are read when they are asked for. */
export interface Weights {
  /** One parameter, with its own axes in their own order. */
  read(parameter: string): Promise<HostTensor>;
  /** How a parameter is stored. */
  dtypeOf(parameter: string): FloatDType;
  /**
   * A parameter's elements with its axes in another order, slowest first, as a tensor of this dtype takes them: stored
   * bytes where nothing is to be computed, floats otherwise. Only a change of order needs the whole tensor in memory.
   */
  pieces(parameter: string, order: readonly string[], dtype: FloatDType): AsyncIterable<HostData>;
  /** What the file has besides, for people. */
  readonly report: string;
  dispose(): Promise<void>;
}

/**
 * Opens a file, an index or a folder as the weights of a graph. Tensors under the parameters' own names are taken first;
 * where they are not all there, the published layout is tried. Throws FileError listing every missing and mis-shaped
 * tensor; further ones are told in `report`.
 */
export async function openWeights(
  path: string,
  graph: Graph,
  published?: readonly StoredParameter[],
): Promise<Weights> {
  const reader = await openSafetensors(path);
  try {
    const own = ownLayout(graph);
    const layout = published && matchTensors(own, reader).matched.length < own.length ? published : own;
    const match = matchTensors(layout, reader);
    requireMatch(path, match, { allowUnexpected: true });
    const places = new Map(layout.map((p) => [p.parameter, p]));
    requireFloats(path, reader, layout);
    const axes = new Map(parameters(graph).map((n) => [inputName(n), n.type.axes as readonly SizedAxis[]]));
    const read = (parameter: string) => readParameter(reader, places.get(parameter)!, axes.get(parameter)!);
    const dtypeOf = (parameter: string) => reader.tensor(places.get(parameter)!.name).dtype as FloatDType;
    return {
      read,
      dtypeOf,
      async *pieces(parameter, order, dtype) {
        const { name, order: stored } = places.get(parameter)!;
        if (stored.some((axis, i) => axis !== order[i])) yield permute(await read(parameter), order).data;
        else if (dtype === dtypeOf(parameter)) yield* reader.storedBytes(name);
        else yield* readPieces(reader, name);
      },
      report: describeMatch(match),
      dispose: () => reader.dispose(),
    };
  } catch (error) {
    await reader.dispose();
    throw error;
  }
}

/** Weights that are in memory. */
export const memoryWeights = (weights: ReadonlyMap<string, HostTensor>): Weights => ({
  read: async (parameter) => weights.get(parameter)!,
  dtypeOf: () => "F32",
  async *pieces(parameter, order) {
    yield permute(weights.get(parameter)!, order).data;
  },
  report: "",
  dispose: async () => {},
});

/** All weights of a graph in memory, by parameter name. */
export async function readAllWeights(
  path: string,
  graph: Graph,
  published?: readonly StoredParameter[],
): Promise<Map<string, HostTensor>> {
  const weights = await openWeights(path, graph, published);
  try {
    const all = new Map<string, HostTensor>();
    for (const node of parameters(graph)) all.set(inputName(node), await weights.read(inputName(node)));
    return all;
  } finally {
    await weights.dispose();
  }
}

/** The tensors of a layout, made from weights as they are written; each as it is stored unless a dtype is given. */
export const tensorsInLayout = (
  layout: readonly StoredParameter[],
  weights: Pick<Weights, "dtypeOf" | "pieces">,
  dtype?: FloatDType,
): TensorToWrite[] =>
  layout.map(({ parameter, name, shape, order }) => {
    const stored = dtype ?? weights.dtypeOf(parameter);
    return { name, dtype: stored, shape, data: () => weights.pieces(parameter, order, stored) };
  });

const parameters = (graph: Pick<Graph, "inputs">) => graph.inputs.filter((n) => n.op === "parameter");

/** heddle's own layout: names, shapes and order are those of the parameters. */
export const ownLayout = (graph: Pick<Graph, "inputs">): StoredParameter[] =>
  parameters(graph).map((n) => ({
    parameter: inputName(n),
    name: inputName(n),
    shape: n.type.axes.map((a) => a.size as number),
    order: n.type.axes.map((a) => a.name),
  }));

/** Weights are floats: integers under a parameter's name are another thing. */
function requireFloats(path: string, reader: SafetensorsReader, layout: readonly StoredParameter[]): void {
  const other = layout.find(({ name }) => !isReadableAs(reader.tensor(name).dtype, "f32"));
  if (!other) return;
  const { dtype } = reader.tensor(other.name);
  throw fileError(path, `${quoted(other.name)} is stored as ${dtype}, and weights are floats`, "check the file");
}

/** A stored tensor as f32, some megabytes at a time. */
async function* readPieces(reader: SafetensorsReader, name: string): AsyncGenerator<HostData> {
  const { elements } = reader.tensor(name);
  const most = 2 ** 20;
  for (let at = 0; at < elements; at += most)
    yield await reader.readRange(name, at, Math.min(most, elements - at), { dtype: "f32" });
}

async function readParameter(
  reader: SafetensorsReader,
  place: StoredParameter,
  axes: readonly SizedAxis[],
): Promise<HostTensor> {
  const stored = await reader.readTensor(place.name, { dtype: "f32" });
  const sizes = new Map(axes.map((a) => [a.name, a.size]));
  const ordered = place.order.map((name) => ({ name, size: sizes.get(name)! }));
  return permute(
    hostTensor("f32", ordered, stored.data),
    axes.map((a) => a.name),
  );
}

/** The tensor with its axes in another order; itself where the order is the same. */
export function permute(tensor: HostTensor, order: readonly string[]): HostTensor {
  if (order.every((name, i) => tensor.axes[i]!.name === name)) return tensor;
  const step = new Map<string, number>();
  let stride = 1;
  for (const a of [...tensor.axes].reverse()) {
    step.set(a.name, stride);
    stride *= a.size;
  }
  const axes = order.map((name) => tensor.axes.find((a) => a.name === name)!);
  const data = new (tensor.data.constructor as Float32ArrayConstructor)(elementCount(axes));
  const index = axes.map(() => 0);
  const steps = axes.map((a) => step.get(a.name)!);
  let from = 0;
  for (let i = 0; i < data.length; i++) {
    data[i] = tensor.data[from]!;
    for (let d = axes.length - 1; d >= 0; d--) {
      from += steps[d]!;
      if (++index[d]! < axes[d]!.size) break;
      from -= steps[d]! * axes[d]!.size;
      index[d] = 0;
    }
  }
  return hostTensor(tensor.dtype, axes, data);
}
