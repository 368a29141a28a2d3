/** Weights: from safetensors files in heddle's own or a published layout, from memory, or randomly initialized. */
import { type Graph, type HostTensor, hostTensor, inputName, isParameter, UsageError } from "../compiler/index.ts";
import { type Config, checkpointLayout, kindOfValue, type Model, withoutRule } from "../dsl/index.ts";
import {
  asFloat,
  drawnWeights,
  memoryFileSystem,
  openSafetensors,
  openWeights,
  ownLayoutMark,
  type ParameterSource,
  readBytes,
  type StoredTensor,
  storedAs,
  type TensorToWrite,
  tensorToWrite,
  writeSafetensors,
} from "../runtime/index.ts";
import { isFloat, requireTensor, requireValueOf } from "./checks.ts";
import { type Kind, kinds, requireOptions } from "./options.ts";
import { isSource, locate, type Source, sourceKind } from "./sources.ts";

/** Tensors of a safetensors file, a shard index or a folder of either, read on demand. */
export interface Loaded {
  readonly source: Source;
  /** Stored dtype, shape and offset, by name. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** The file's metadata, such as `format`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** One tensor, as f32 unless it holds integers or f16. Its axes are named d0, d1 ... in the file's order. */
  read(name: string): Promise<HostTensor>;
  /** Closes the files; may be called twice. */
  dispose(): Promise<void>;
}

/**
 * Opens safetensors: reads the header, and tensors on demand, so that a file may be larger than memory. Throws
 * FileError for a file that is damaged or not safetensors.
 */
export async function load(source: Source): Promise<Loaded> {
  const { path, fs } = await locate(source);
  const reader = await openSafetensors(path, { fs });
  const { tensors, metadata } = reader;
  const loaded: Loaded = {
    source,
    tensors,
    metadata,
    read: async (name) => await reader.readTensor(nameOf(name)),
    dispose: () => reader.dispose(),
  };
  forgotten.register(loaded, reader);
  return loaded;
}

/** Closes the files of what was dropped undisposed: Node warns of a file that it closes itself, and means to throw. */
const forgotten = new FinalizationRegistry(
  (reader: { dispose(): Promise<void> }) => void reader.dispose().catch(() => {}),
);

function nameOf(name: unknown): string {
  if (typeof name === "string") return name;
  throw new UsageError(`the name of a tensor must be a string, got ${kindOfValue(name)}`);
}

function listed(tensors: ReadonlyMap<string, HostTensor>): TensorToWrite[] {
  if (!(tensors instanceof Map)) throw new UsageError("the tensors to save must be a Map of tensors by name");
  return [...tensors].map(([name, tensor]) => {
    requireTensor(tensor, `tensor "${name}"`);
    return tensorToWrite(nameOf(name), tensor);
  });
}

/**
 * Atomically writes tensors by name as one safetensors file. f32 is stored as F32, f16 as F16. Throws FileError if it
 * cannot be written; an existing file is then unchanged.
 */
export async function save(path: string, tensors: ReadonlyMap<string, HostTensor>): Promise<void> {
  if (typeof path !== "string" || path === "")
    throw new UsageError(`tensors are saved to a file path, got ${path === "" ? '""' : kindOfValue(path)}`);
  await writeSafetensors(path, listed(tensors), { metadata: markOf(tensors) });
}

/** The bytes of the file that `save` writes, for a download. */
export const safetensorsBytes = async (tensors: ReadonlyMap<string, HostTensor>): Promise<Uint8Array> =>
  await fileBytes(listed(tensors), markOf(tensors));

/** Tensors of a model have its axes; those that `load` read from a file have the order of that file. */
const markOf = (tensors: ReadonlyMap<string, HostTensor>): Readonly<Record<string, string>> =>
  [...tensors.values()].some(({ axes }) => axes.some(({ name }) => /^d\d+$/.test(name))) ? {} : ownLayoutMark;

async function fileBytes(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>>,
): Promise<Uint8Array> {
  const fs = memoryFileSystem();
  await writeSafetensors("/file", tensors, { fs, metadata });
  return await readBytes(fs, "/file", Number.MAX_SAFE_INTEGER);
}

/**
 * The source of a model's weights: what `load` takes or returns, tensors by parameter name, or a seed to initialize
 * them randomly.
 */
export type WeightsFrom = Source | Loaded | ReadonlyMap<string, HostTensor> | { readonly seed: number };

/** A graph's parameters, open until they are on a device. */
export interface OpenParameters extends ParameterSource {
  dispose(): Promise<void>;
}

/** The parameters of a graph as safetensors bytes, read one at a time. */
export async function parameterBytes(parameters: OpenParameters, graph: Graph): Promise<Uint8Array> {
  const tensors = graph.inputs.filter(isParameter).map((node): TensorToWrite => {
    const { dtype, axes } = node.type;
    const data = async function* () {
      yield (await parameters.read(inputName(node), dtype)).data;
    };
    return { name: inputName(node), dtype: storedAs[dtype], shape: axes.map((a) => a.size as number), data };
  });
  return await fileBytes(tensors, ownLayoutMark);
}

/**
 * Opens the source of a graph's parameters. Throws FileError or UsageError naming all that are missing or have the
 * wrong shape.
 */
export async function openParameters<C extends Config>(
  from: WeightsFrom,
  graph: Graph,
  model: Model<C> | undefined,
): Promise<OpenParameters> {
  if (from instanceof Map) return inMemory(from, graph);
  if (isSeed(from)) {
    requireOptions("{ seed } in place of weights", from, { seed: kinds.number });
    return drawnWeights(graph, from.seed);
  }
  const source = isLoaded(from) ? from.source : (from as Source);
  const { path, fs } = await locate(source);
  return await openWeights(path, graph, layoutsOf(graph, model), { fs });
}

const isSeed = (from: WeightsFrom): from is { readonly seed: number } => has(from, "seed");
export const isLoaded = (from: WeightsFrom): from is Loaded => has(from, "tensors");
const has = (from: WeightsFrom, key: string) => typeof from === "object" && from !== null && Object.hasOwn(from, key);

export const weightsKind: Kind = {
  is: (from) => from instanceof Map || isSource(from) || isSeed(from as WeightsFrom) || isLoaded(from as WeightsFrom),
  needed: `${sourceKind.needed}, the result of load, a Map of tensors, or { seed }`,
};

/** The published layouts of a model that cover all of a graph's parameters. */
const layoutsOf = <C extends Config>(graph: Graph, model: Model<C> | undefined) =>
  (model?.checkpoints?.layouts ?? [])
    .filter((rules) => withoutRule(rules, graph).length === 0)
    .map((rules) => checkpointLayout(graph, rules));

function inMemory(tensors: ReadonlyMap<string, HostTensor>, graph: Graph): OpenParameters {
  const parameters = graph.inputs.filter(isParameter);
  const names = parameters.map(inputName);
  const missing = names.filter((name) => !tensors.has(name));
  if (missing.length > 0)
    throw new UsageError(
      `${missing.length} of ${names.length} weights of graph @${graph.name} are missing: ${missing.slice(0, 8).join(", ")}`,
    );
  for (const node of parameters) requireValueOf(node, tensors.get(inputName(node))!);
  const types = new Map(parameters.map((node) => [inputName(node), node.type]));
  /** Renames axes to the parameter's own: `load` knows only their sizes. */
  const read: OpenParameters["read"] = async (name, dtype = "f32") => {
    const [type, value] = [types.get(name)!, tensors.get(name)!];
    const axes = type.axes.map(({ name }, i) => ({ name, size: value.axes[i]!.size }));
    if (!isFloat(type.dtype)) return { ...value, axes };
    const wide =
      value.dtype === "f16" && dtype === "f32" ? hostTensor("f32", axes, new Float32Array(value.data)) : value;
    return { ...asFloat(name, wide, dtype), axes };
  };
  return { read, dispose: async () => {} };
}
