/** A model's weights in files: with heddle's own names and shapes, or in a published layout described by the model. */
import type { StoredFloat, StoredTensor } from "../backends/backend.ts";
import {
  type DType,
  elementCount,
  FileError,
  type Graph,
  type HostData,
  type HostTensor,
  hostTensor,
  inputName,
  isParameter,
  type SizedAxis,
  UsageError,
} from "../compiler/index.ts";
import type { CheckpointPlace } from "../dsl/index.ts";
import { byParameter, fromPlaces, intoPlace, isWhole, shareOf } from "./checkpoint-places.ts";
import { fileError, quoted } from "./file-errors.ts";
import type { FileSystem } from "./file-system.ts";
import { NotFinite } from "./safetensors/finite.ts";
import type { StoredTensor as TensorOfFile } from "./safetensors/header.ts";
import { describeMatch, matchTensors, requireMatch } from "./safetensors/match.ts";
import { isMarkedOwn } from "./safetensors/own-layout.ts";
import { describeStored, openSafetensors, type SafetensorsReader } from "./safetensors/reader.ts";
import { isReadableAs } from "./safetensors/stored-dtype.ts";
import type { TensorToWrite } from "./safetensors/writer.ts";

/** Storage types of weights. */
export type FloatDType = "F64" | "F32" | "F16" | "BF16";

/** Weights that are read on demand. */
export interface Weights {
  /** Reads a parameter, with its own axes in their own order, as f32 unless another float type is given. */
  read(parameter: string, dtype?: DType): Promise<HostTensor>;
  /** Where a store may fetch the parameter itself; undefined when more than a float conversion is needed. */
  stored?(parameter: string, dtype?: DType): StoredTensor | undefined;
  /** The stored type of a parameter. */
  dtypeOf(parameter: string): FloatDType;
  /**
   * A parameter's elements with its axes in the given order, slowest first, for a tensor of this dtype: the stored
   * bytes if no conversion is needed, floats otherwise. Only a change of order needs the whole tensor in memory.
   */
  pieces(parameter: string, order: readonly string[], dtype: FloatDType): AsyncIterable<HostData>;
  /** A summary of the match, including unused tensors, for display. */
  readonly report: string;
  /** Paths of optional parameters that the file does not have. */
  readonly absent?: ReadonlySet<string>;
  dispose(): Promise<void>;
}

/** Options of `openWeights`. */
export interface OpenWeightsOptions {
  readonly fs?: FileSystem;
  /** Paths of parameters that the file need not have. Those that it lacks are in `absent`, and cannot be read. */
  readonly optional?: ReadonlySet<string>;
}

/**
 * Opens a file, an index or a folder as the weights of a graph. Tensors are found by the parameters' own names and
 * shapes, or by one of the layouts, whichever matches more of them; if they match as many, by the layout, unless heddle
 * marked the file as its own. Throws FileError listing all missing and mis-shaped
 * tensors, or all that are not floats; unused tensors are listed in `report`. Reading a tensor throws FileError when a
 * value is NaN or infinite.
 */
export async function openWeights(
  path: string,
  graph: Graph,
  layouts: readonly (readonly CheckpointPlace[])[] = [],
  options: OpenWeightsOptions = {},
): Promise<Weights> {
  const reader = await openSafetensors(path, options);
  const shown = options.fs?.shown?.(path) ?? path;
  try {
    const { layout, match: whole } = bestLayout(ownLayout(graph), layouts, reader);
    const absent = absentParameters(layout, whole.missing, options.optional);
    const match = { ...whole, missing: withoutHolders(whole.missing, layout, absent) };
    requireMatch(shown, match, { allowUnexpected: true });
    requireFloats(
      shown,
      match.matched.map(({ found }) => found),
    );
    const report = describeMatch(match);
    return { ...readsOf(reader, graph, layout), report, absent, dispose: () => reader.dispose() };
  } catch (error) {
    await reader.dispose();
    throw error;
  }
}

/** The reads of a graph's parameters from tensors that have been matched. */
function readsOf(
  reader: SafetensorsReader,
  graph: Graph,
  layout: readonly CheckpointPlace[],
): Required<Pick<Weights, "read" | "stored" | "dtypeOf" | "pieces">> {
  const places = byParameter(layout);
  const axes = new Map(parameters(graph).map((n) => [inputName(n), n.type.axes as readonly SizedAxis[]]));
  const read = (parameter: string, dtype: DType = "f32") =>
    readParameter(reader, places.get(parameter)!, axes.get(parameter)!, dtype);
  const dtypeOf = (parameter: string) => reader.tensor(places.get(parameter)![0]!.name).dtype as FloatDType;
  return {
    read,
    dtypeOf,
    stored(parameter, dtype = "f32") {
      const lying = places.get(parameter)!;
      return isWhole(lying) ? storedParameter(reader, lying[0]!, axes.get(parameter)!, dtype) : undefined;
    },
    async *pieces(parameter, order, dtype) {
      const lying = places.get(parameter)!;
      const { name, order: stored } = lying[0]!;
      if (!isWhole(lying) || stored.some((axis, i) => axis !== order[i]))
        yield permute(await read(parameter), order).data;
      else if (dtype === dtypeOf(parameter)) yield* reader.storedBytes(name);
      else yield* readPieces(reader, name);
    },
  };
}

/**
 * The layout that matches the most tensors. If that is as many for the model's own and a published one, the file is
 * read as published unless it is marked; further ties go to the first.
 */
function bestLayout(
  own: readonly CheckpointPlace[],
  published: readonly (readonly CheckpointPlace[])[],
  reader: SafetensorsReader,
) {
  const matched = (layout: readonly CheckpointPlace[]) => ({ layout, match: matchTensors(tensorsOf(layout), reader) });
  const isMarked = isMarkedOwn(reader);
  return published.map(matched).reduce((best, other) => {
    const more = other.match.matched.length - best.match.matched.length;
    const isTied = more === 0 && best.layout === own && other.match.matched.length > 0;
    return more > 0 || (isTied && !isMarked) ? other : best;
  }, matched(own));
}

/** The optional parameters that lie, in whole or in part, in missing tensors. */
function absentParameters(
  layout: readonly CheckpointPlace[],
  missing: readonly CheckpointPlace[],
  optional: ReadonlySet<string> = new Set(),
): ReadonlySet<string> {
  const names = new Set(missing.map(({ name }) => name));
  return new Set(layout.filter((p) => optional.has(p.parameter) && names.has(p.name)).map((p) => p.parameter));
}

/** The missing tensors of which a parameter that is not absent has a part. */
const withoutHolders = (
  missing: readonly CheckpointPlace[],
  layout: readonly CheckpointPlace[],
  absent: ReadonlySet<string>,
): readonly CheckpointPlace[] => {
  const needed = new Set(layout.filter((p) => !absent.has(p.parameter)).map(({ name }) => name));
  return missing.filter(({ name }) => needed.has(name));
};

/** Each tensor once, even if several parameters share it. */
const tensorsOf = (layout: readonly CheckpointPlace[]): CheckpointPlace[] => [
  ...new Map(layout.map((place) => [place.name, place])).values(),
];

/**
 * Converts a parameter to the given float type, unless it has it already. Throws FileError for a value that f16 cannot
 * represent.
 */
export function asFloat(parameter: string, tensor: HostTensor, dtype: DType): HostTensor {
  if (dtype !== "f16" || tensor.dtype === "f16") return tensor;
  const data = new Float16Array(tensor.data);
  const at = firstNonFinite(data);
  if (at < 0) return { ...tensor, dtype, data };
  throw new FileError(
    `${quoted(parameter)}: element ${at} is ${tensor.data[at]}, which f16 cannot hold\n  hint: keep weights in f32`,
  );
}

/**
 * The tensors of a layout, produced from weights while they are written; in their stored type unless a dtype is given.
 */
export function tensorsInLayout(
  layout: readonly CheckpointPlace[],
  weights: Pick<Weights, "dtypeOf" | "pieces" | "read">,
  dtype?: FloatDType,
): TensorToWrite[] {
  const lying = byParameter(layout);
  requireOneHolder(layout);
  return tensorsOf(layout).map((place) => {
    const { parameter, name, shape, order } = place;
    const stored = dtype ?? weights.dtypeOf(parameter);
    if (isWhole(lying.get(parameter)!))
      return { name, dtype: stored, shape, data: () => weights.pieces(parameter, order, stored) };
    const holders = layout.filter((other) => other.name === name);
    requireFull(holders);
    return { name, dtype: stored, shape, data: () => filled(holders, weights) };
  });
}

/** A tensor that several parameters share, or that holds a part of one; assembled in memory. */
async function* filled(
  places: readonly CheckpointPlace[],
  { read }: Pick<Weights, "read">,
): AsyncGenerator<Float32Array> {
  const data = new Float32Array(places[0]!.shape.reduce((n, size) => n * size, 1));
  for (const place of places) intoPlace(place, await read(place.parameter), data);
  yield data;
}

/** Throws UsageError when two parameters are the same elements of a tensor, of which one would be lost. */
function requireOneHolder(layout: readonly CheckpointPlace[]): void {
  const holders = new Map<string, string>();
  for (const { parameter, name, shared = [], entry } of layout) {
    const part = JSON.stringify([name, shared.map(({ at, size }) => [at, size])]);
    const other = holders.get(part);
    if (other !== undefined && !entry)
      throw new UsageError(
        `the checkpoint layout stores both "${other}" and "${parameter}" as the tensor "${name}": only one of them can be written`,
      );
    holders.set(part, parameter);
  }
}

/**
 * Throws UsageError when parameters do not cover all of a tensor that they share: such a layout can be read but not
 * written.
 */
function requireFull(places: readonly CheckpointPlace[]): void {
  const { name, shape } = places[0]!;
  const whole = shape.reduce((n, size) => n * size, 1);
  const held = places.reduce((n, place) => n + shareOf(place), 0);
  if (held === whole) return;
  throw new UsageError(
    `the tensor "${name}" of ${whole} elements is shared by parameters that have ${held} of them (${places.map((p) => p.parameter).join(", ")}): this layout cannot be written`,
  );
}

const parameters = (graph: Pick<Graph, "inputs">) => graph.inputs.filter(isParameter);

/** heddle's own layout: names, shapes and axis order of the parameters. */
export const ownLayout = (graph: Pick<Graph, "inputs">): CheckpointPlace[] =>
  parameters(graph).map((n) => ({
    parameter: inputName(n),
    name: inputName(n),
    shape: n.type.axes.map((a) => a.size as number),
    order: n.type.axes.map((a) => a.name),
  }));

/** Tensors listed in one message; the rest are counted. */
const mostShown = 10;

/** Weights must be floats; an integer tensor under a parameter's name is something else. */
function requireFloats(path: string, tensors: readonly TensorOfFile[]): void {
  const others = tensors.filter(({ dtype }) => !isReadableAs(dtype, "f32"));
  if (others.length === 0) return;
  const shown = others.slice(0, mostShown).map((tensor) => `    ${describeStored(tensor)}`);
  const rest = others.length > mostShown ? [`    and ${others.length - mostShown} more`] : [];
  const hint = "  hint: store them as F32, F16 or BF16";
  throw new FileError(
    [`${path}: weights must be floats, but these tensors are not:`, ...shown, ...rest, hint].join("\n"),
  );
}

/** A stored tensor as f32, a few megabytes at a time. */
async function* readPieces(reader: SafetensorsReader, name: string): AsyncGenerator<HostData> {
  const { elements } = reader.tensor(name);
  const most = 2 ** 20;
  for (let at = 0; at < elements; at += most)
    yield await reader.readRange(name, at, Math.min(most, elements - at), { dtype: "f32" });
}

/** Stored types that a store can convert itself. */
const storedFloats: Partial<Record<string, StoredFloat>> = { F32: "f32", F16: "f16", BF16: "bf16" };

function storedParameter(
  reader: SafetensorsReader,
  { name, order }: CheckpointPlace,
  axes: readonly SizedAxis[],
  dtype: DType,
): StoredTensor | undefined {
  const { dtype: type, file, byteOffset } = reader.tensor(name);
  const stored = storedFloats[type];
  const isMoved = order.some((axis, i) => axis !== axes[i]!.name);
  if (stored === undefined || isMoved || (dtype !== "f32" && dtype !== "f16")) return undefined;
  return {
    axes,
    dtype,
    stored,
    place: { file, offset: byteOffset },
    fill: (at, into) => reader.readStored(name, at, into),
    fillConverted: async (first, { buffer, byteOffset, length }) => {
      const out =
        dtype === "f32"
          ? new Float32Array(buffer, byteOffset, length / 4)
          : new Float16Array(buffer, byteOffset, length / 2);
      await reader.readRangeInto(name, first, out);
      requireFinite(reader.path, name, out, first);
    },
    notFinite: (element) => whyNotFinite(reader, name, element, dtype),
  };
}

/** The error that reading the element throws: it exceeds the dtype's range, or it is not finite in the file. */
async function whyNotFinite(reader: SafetensorsReader, name: string, element: number, dtype: DType): Promise<Error> {
  try {
    const [value] = await reader.readRange(name, element, 1, { dtype });
    return notFinite(reader.path, name, element, value!);
  } catch (error) {
    return error as Error;
  }
}

async function readParameter(
  reader: SafetensorsReader,
  places: readonly CheckpointPlace[],
  axes: readonly SizedAxis[],
  dtype: DType,
): Promise<HostTensor> {
  const elements = async ({ name }: CheckpointPlace) => {
    const { data } = await reader.readTensor(name, { dtype });
    requireFinite(reader.path, name, data as Float32Array | Float16Array);
    return data as Float32Array | Float16Array;
  };
  if (!isWhole(places)) return await fromPlaces(places, axes, dtype as "f32" | "f16", elements);
  const sizes = new Map(axes.map((a) => [a.name, a.size]));
  const ordered = places[0]!.order.map((name) => ({ name, size: sizes.get(name)! }));
  return permute(
    hostTensor(dtype, ordered, await elements(places[0]!)),
    axes.map((a) => a.name),
  );
}

/** A single such value would make all of the model's outputs NaN. `values` starts at element `first`. */
export function requireFinite(path: string, name: string, values: Float32Array | Float16Array, first = 0): void {
  const at = firstNonFinite(values);
  if (at < 0) return;
  throw notFinite(path, name, first + at, values[at]!);
}

const notFinite = (path: string, name: string, element: number, value: number): FileError => {
  const { message } = fileError(
    path,
    `tensor ${quoted(name)}: element ${element} is ${value}, but weights must be finite`,
    "use an earlier checkpoint, or copy or download this one again",
  );
  return new NotFinite(
    message,
    name,
    `tensor ${quoted(name)}, element ${element}: it is ${value}, but weights must be finite`,
  );
};

/** Floats with all exponent bits set are NaN or infinite; testing bits costs the same for both widths. */
function firstNonFinite({ buffer, byteOffset, length, BYTES_PER_ELEMENT }: Float32Array | Float16Array): number {
  const [bits, exponent] =
    BYTES_PER_ELEMENT === 2
      ? [new Uint16Array(buffer, byteOffset, length), 0x7c00]
      : [new Uint32Array(buffer, byteOffset, length), 0x7f800000];
  for (let i = 0; i < length; i++) if ((bits[i]! & exponent) === exponent) return i;
  return -1;
}

/** The tensor with its axes reordered; the tensor itself if the order is the same. */
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
