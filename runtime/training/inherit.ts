/** Initial weights of a stage: from earlier runs and published checkpoints; the rest are initialized. */
import { crc32 } from "#host";
import { FileError, type HostTensor, hostTensor, inputName, type Node, type SizedAxis } from "../../compiler/index.ts";
import type { CheckpointPlace, FittedTensor } from "../../dsl/index.ts";
import { fromPlaces, isWhole } from "../checkpoint-places.ts";
import { quoted } from "../file-errors.ts";
import { collapseNames } from "../name-patterns.ts";
import { goOn } from "../resume-hints.ts";
import { describeShape } from "../safetensors/header.ts";
import { isMarkedOwn } from "../safetensors/own-layout.ts";
import { openSafetensors, type SafetensorsReader } from "../safetensors/reader.ts";
import { isReadableAs } from "../safetensors/stored-dtype.ts";
import { ownLayout, permute, requireFinite } from "../weights.ts";

/** What a model family knows about its checkpoints. */
export interface CheckpointFamily {
  /**
   * Alternative places of parameters, besides tensors of the same name, the likeliest first. Each is the list of
   * tensors that together hold one parameter.
   */
  places(parameters: readonly Node[]): readonly (readonly CheckpointPlace[])[];
  /** Adapts a stored tensor of another shape to the parameter; undefined when it cannot. `data` is in stored order. */
  fit?(parameter: string, stored: readonly number[], expected: readonly number[]): FittedTensor | undefined;
}

/** What was taken from one source. */
export interface InheritedFrom {
  readonly path: string;
  readonly taken: number;
  /** Its tensors that no parameter took, as patterns. */
  readonly unused: readonly string[];
  /** A checksum of its headers and of the beginning of each tensor, to detect changes. */
  readonly fingerprint: string;
}

export interface Inheritance {
  /** A parameter's value; undefined when no source has it. */
  readonly initial: (parameter: string) => Promise<HostTensor | undefined>;
  /** Whether a source has it. */
  readonly has: (parameter: string) => boolean;
  readonly sources: readonly InheritedFrom[];
  /** Parameters that no source has, as patterns. */
  readonly initialized: readonly string[];
  /** A human-readable summary: a line per source, and lines for what is initialized or adapted. */
  readonly report: readonly string[];
  dispose(): Promise<void>;
}

/** A parameter found in a source. */
interface Found {
  readonly reader: SafetensorsReader;
  readonly places: readonly CheckpointPlace[];
  readonly axes: readonly SizedAxis[];
  readonly apply?: (data: Float32Array) => Float32Array;
}

/**
 * Finds every parameter in the first source that has it, by its own name or where the family says. A source is a run's
 * folder, a safetensors file, an index or a folder of either. Only headers are read until `initial` is called. Throws
 * one FileError for all tensors of mismatched shapes.
 */
export async function inheritWeights(
  parameters: readonly Node[],
  paths: readonly string[],
  family?: CheckpointFamily,
): Promise<Inheritance> {
  const readers: SafetensorsReader[] = [];
  const dispose = async () => {
    await Promise.all(readers.map((r) => r.dispose()));
  };
  try {
    for (const path of paths) readers.push(await openSafetensors(path));
    readers.forEach(requireMerged);
    const places = placesOf(parameters, family);
    requireKin(readers, places);
    const { found, changed } = findAll(readers, parameters, places, family);
    const names = parameters.map(inputName);
    const initialized = collapseNames(
      names.filter((n) => !found.has(n)),
      names,
    );
    const sources = await Promise.all(readers.map((r) => sourceOf(r, found)));
    return {
      initial: async (name) => (found.has(name) ? await readFound(found.get(name)!) : undefined),
      has: (name) => found.has(name),
      sources,
      initialized,
      report: [...sources.map(describeSource), ...changed, describeInitialized(names.length - found.size, initialized)],
      dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Each parameter in the first source that has it, and what was changed to fit. Throws FileError for other shapes. */
function findAll(
  readers: readonly SafetensorsReader[],
  parameters: readonly Node[],
  places: ReadonlyMap<string, Lying[]>,
  family: CheckpointFamily | undefined,
): { readonly found: ReadonlyMap<string, Found>; readonly changed: readonly string[] } {
  const found = new Map<string, Found>();
  const [misshaped, changed]: [string[], string[]] = [[], []];
  for (const reader of readers) {
    const isOwn = isOwnLayout(reader, [...places.values()]);
    for (const node of parameters.filter((n) => !found.has(inputName(n)))) {
      const ways = places.get(inputName(node))!;
      const result = findIn(reader, node, ways, isOwn, family);
      if (!result) continue;
      if ("wrong" in result) misshaped.push(result.wrong);
      else found.set(inputName(node), result.found);
      if ("note" in result && result.note !== undefined) changed.push(result.note);
    }
  }
  if (misshaped.length === 0) return { found, changed };
  throw new FileError(
    `the shapes of ${counted(misshaped.length)} differ:\n${misshaped.join("\n")}\n  hint: set the model's sizes to those of the weights, or declare in the record what becomes of such tensors: checkpoints: { fit }, such as fitHeads(["head"]) for a head of other classes`,
  );
}

/** One way to store a parameter: all tensors that together hold it. */
type Lying = readonly CheckpointPlace[];

/** All candidate places of every parameter, that of its own name and axis order first. */
function placesOf(parameters: readonly Node[], family: CheckpointFamily | undefined): Map<string, Lying[]> {
  const places = new Map<string, Lying[]>();
  const own = ownLayout({ inputs: parameters }).map((place) => [place]);
  for (const lying of [...own, ...(family?.places(parameters) ?? [])]) {
    const { parameter } = lying[0]!;
    places.set(parameter, [...(places.get(parameter) ?? []), lying]);
  }
  return places;
}

/** The suffix that the DSL gives the two matrices of a low-rank update. */
const updateName = /\.lora_[ab]$/;

/**
 * Throws FileError for a checkpoint from the middle of a LoRA run: its low-rank updates apply to base weights that the
 * file does not contain.
 */
function requireMerged({ path, tensors }: SafetensorsReader): void {
  const updates = [...tensors.keys()].filter((name) => updateName.test(name));
  if (updates.length === 0) return;
  throw new FileError(
    `${path} holds ${counted(updates.length)} of low-rank updates, such as "${updates[0]}", separate from their base weights: ${goOn} and let it finish, or use the model.safetensors that it wrote to its folder when it finished, in which they are merged`,
  );
}

/** Throws FileError for a source with no tensor name of this model: it belongs to another model. */
function requireKin(readers: readonly SafetensorsReader[], places: ReadonlyMap<string, readonly Lying[]>): void {
  const known = new Set([...places.values()].flat(2).map(({ name }) => name));
  const stranger = readers.find(({ tensors }) => !tensors.keys().some((name) => known.has(name)));
  if (!stranger) return;
  const [has, wanted] = [[...stranger.tensors.keys()], [...places.keys()]].map((names) =>
    listed(collapseNames(names, names)),
  );
  throw new FileError(
    `${stranger.path} has no parameter of this model: its tensors are ${has}, but the model's are ${wanted}`,
  );
}

/**
 * Whether a source's parameters lie by their own names and axis order, where their shapes would also fit the family's
 * places: it is marked so, or more of the parameters that the family knows fit that way.
 */
function isOwnLayout(reader: SafetensorsReader, all: readonly (readonly Lying[])[]): boolean {
  if (isMarkedOwn(reader)) return true;
  const known = all.filter((ways) => ways.length > 1);
  const own = known.filter(([first]) => fitsIn(reader, first!)).length;
  const family = known.filter(([, ...others]) => others.some((places) => fitsIn(reader, places))).length;
  return own > family;
}

const fitsIn = (reader: SafetensorsReader, places: Lying): boolean =>
  places.every(({ name, shape }) => reader.tensors.has(name) && isSame(shape, reader.tensor(name).shape));

type Result = { readonly found: Found; readonly note?: string } | { readonly wrong: string } | undefined;

/**
 * Looks for a parameter in one source: preferably a place with its shape, else one that can be adapted, else a
 * mismatch.
 */
function findIn(
  reader: SafetensorsReader,
  node: Node,
  ways: readonly Lying[],
  isOwn: boolean,
  family: CheckpointFamily | undefined,
): Result {
  const axes = node.type.axes as readonly SizedAxis[];
  const there = ways.filter((places) => places.every(({ name }) => reader.tensors.has(name)));
  const misfit = (places: Lying) => places.find(({ name, shape }) => !isSame(shape, reader.tensor(name).shape));
  const fitting = there.filter((places) => !misfit(places));
  const fits = (isOwn ? undefined : fitting.find((places) => places !== ways[0])) ?? fitting[0];
  if (fits) return { found: { reader, places: fits, axes } };
  const places = there[0];
  if (!places) return undefined;
  const { parameter, name, shape } = misfit(places)!;
  const stored = reader.tensor(name).shape;
  const fitted = isWhole(places) ? family?.fit?.(parameter, stored, shape) : undefined;
  if (fitted) return { found: { reader, places, axes, apply: fitted.apply }, note: `${parameter}: ${fitted.note}` };
  const [has, needs] = [describeShape(stored), describeShape(shape)];
  return { wrong: `  ${quoted(name)} of ${reader.path} is [${has}], but the parameter needs [${needs}]` };
}

const isSame = (a: readonly number[], b: readonly number[]) => a.length === b.length && a.every((n, i) => n === b[i]);

async function readFound({ reader, places, axes, apply }: Found): Promise<HostTensor> {
  const elements = async ({ name }: CheckpointPlace) => {
    const { data } = await reader.readTensor(name, { dtype: "f32" });
    requireFinite(reader.path, name, data as Float32Array);
    return data as Float32Array;
  };
  if (!isWhole(places)) return await fromPlaces(places, axes, "f32", elements);
  const data = await elements(places[0]!);
  const sizes = new Map(axes.map((a) => [a.name, a.size]));
  const stored = places[0]!.order.map((name) => ({ name, size: sizes.get(name)! }));
  return permute(
    hostTensor("f32", stored, apply ? apply(data) : data),
    axes.map((a) => a.name),
  );
}

async function sourceOf(reader: SafetensorsReader, found: ReadonlyMap<string, Found>): Promise<InheritedFrom> {
  const taken = new Set(
    [...found.values()].filter((f) => f.reader === reader).flatMap((f) => f.places.map((p) => p.name)),
  );
  // Integers are no weights, such as PyTorch's counts of batches.
  const weights = [...reader.tensors.values()].filter(({ dtype }) => isReadableAs(dtype, "f32"));
  const names = weights.map(({ name }) => name);
  const unused = collapseNames(
    names.filter((n) => !taken.has(n)),
    names,
  );
  return { path: reader.path, taken: taken.size, unused, fingerprint: await fingerprintOf(reader) };
}

/** Elements of each tensor that a fingerprint reads: training changes all of a tensor, so a prefix is enough. */
const fingerprintElements = 1024;

async function fingerprintOf(reader: SafetensorsReader): Promise<string> {
  let sum = 0;
  for (const { name, dtype, shape, elements } of reader.tensors.values()) {
    sum = crc32(`${name} ${dtype} [${shape.join()}]`, sum);
    const { buffer, byteOffset, byteLength } = await reader.readRange(name, 0, Math.min(elements, fingerprintElements));
    sum = crc32(new Uint8Array(buffer, byteOffset, byteLength), sum);
  }
  return sum.toString(16).padStart(8, "0");
}

function describeSource({ path, taken, unused }: InheritedFrom): string {
  const rest = unused.length === 0 ? "all of it" : `not used: ${listed(unused)}`;
  return `from ${path}: ${counted(taken)}, ${rest}`;
}

const describeInitialized = (count: number, patterns: readonly string[]): string =>
  count === 0 ? "initialized: nothing" : `initialized: ${counted(count)}: ${listed(patterns)}`;

const counted = (n: number): string => `${n} ${n === 1 ? "tensor" : "tensors"}`;

/** Patterns per line, at most. */
const mostShown = 12;

const listed = (patterns: readonly string[]): string =>
  patterns.length <= mostShown
    ? patterns.join(", ")
    : `${patterns.slice(0, mostShown).join(", ")} and ${patterns.length - mostShown} more`;
