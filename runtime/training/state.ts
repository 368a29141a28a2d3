/** The training state in a store: initialization, saving, and restoring. */
import type { Store } from "../../backends/backend.ts";
import {
  type ArenaLayout,
  allocate,
  type Distribution,
  dimValue,
  elementCount,
  type HostTensor,
  hostTensor,
  inputName,
  type Node,
  ops,
  printType,
  type SizedAxis,
  type Sizes,
  type TensorType,
  UsageError,
} from "../../compiler/index.ts";
import type { SharedFile, TensorPiece } from "../checkpoint/shared-file.ts";
import type { Range } from "../collectives/index.ts";
import { fileError, quoted } from "../file-errors.ts";
import { fillRandom } from "../random/streams.ts";
import type { TensorLayout } from "../safetensors/header.ts";
import { matchTensors, requireMatch } from "../safetensors/match.ts";
import type { SafetensorsReader } from "../safetensors/reader.ts";
import { storedAs } from "../safetensors/stored-dtype.ts";
import { type TensorToWrite, tensorToWrite } from "../safetensors/writer.ts";
import type { WeightParts } from "../sharding/weight-parts.ts";
import { writeFrozen } from "./frozen.ts";
import type { CompiledStep, TrainingJob } from "./job.ts";

const sizes = (node: Node): readonly SizedAxis[] => node.type.axes as readonly SizedAxis[];

/** The random stream of a parameter's initializer. */
export const initialStream = (node: Node): string => `parameter ${inputName(node)}`;

/** A parameter's initial value: depends only on its name and the seed. */
export function initialValue(node: Node, seed: number): HostTensor {
  const shape = sizes(node).map((a) => a.size);
  const values = fillRandom(initOf(node), shape, seed, initialStream(node));
  return hostTensor("f32", sizes(node), values);
}

/** A parameter's value at the start of a job: inherited, or else drawn by its initializer. */
export async function startingValue(job: Pick<TrainingJob, "initial" | "seed">, node: Node): Promise<HostTensor> {
  const inherited = await job.initial?.(inputName(node));
  if (!inherited) return initialValue(node, job.seed);
  if (typeof inherited.data?.length !== "number")
    throw new UsageError(
      `"${inputName(node)}" is given an initial value that is not a tensor: create one with hostTensor(dtype, axes, data)`,
    );
  if (inherited.data.length === elementCount(sizes(node))) return inherited;
  throw new UsageError(
    `"${inputName(node)}" is ${printType(node.type)}, but its initial value has ${inherited.data.length} elements`,
  );
}

/** The buffers of a step, such as running statistics, as the parameters that they are at inference. */
export const keptParameters = (step: Pick<CompiledStep, "kept" | "trained" | "frozen">): Node[] =>
  step.kept.map(({ name, type, initial }) =>
    ops.parameter(name, "f32", type.axes, "parameter" in initial ? initOf(followed(step, initial)) : initial),
  );

const initOf = (node: Node) => node.attrs.init as unknown as Distribution;

/** The parameter whose initial value a buffer starts as. */
function followed(step: Pick<CompiledStep, "trained" | "frozen">, { parameter }: { readonly parameter: string }): Node {
  const found = [...step.trained, ...step.frozen].find((node) => inputName(node) === parameter);
  if (found) return found;
  throw new UsageError(`a buffer starts as the parameter "${parameter}", which the loss does not use`);
}

/** A buffer's value at the start of a job: inherited, or else as it declares. */
async function startingBuffer(job: TrainingJob, node: Node): Promise<HostTensor> {
  const { initial } = job.step.kept.find(({ name }) => name === inputName(node))!;
  if (!("parameter" in initial)) return await startingValue(job, node);
  const inherited = (await job.initial?.(inputName(node))) !== undefined;
  return await startingValue(job, inherited ? node : followed(job.step, initial));
}

/** Fills the store for a new run; if weights are sharded, frozen ones go to `parts`. */
export async function writeInitialState(
  job: TrainingJob,
  store: Store,
  parts?: Pick<WeightParts, "fill">,
): Promise<void> {
  const { step } = job;
  const value = (node: Node) => startingValue(job, node);
  const trained = new Map(step.trained.map((n) => [inputName(n), n]));
  for (const [i, { layout, parameters, state, average }] of step.arenas.entries()) {
    const values = new Float32Array(layout.size);
    for (const e of layout.entries) values.set((await value(trained.get(e.name)!)).data, e.offset);
    const own = rangeOf(step, i);
    if (!own || !hasWeightsInParts(step)) await writeArena(store, parameters, values);
    else if (own.to > own.from) await writeArena(store, parameters, values.slice(own.from, own.to));
    if (average && !own) await writeArena(store, average, values);
    if (own && own.to === own.from) continue;
    if (average && own) await writeArena(store, averagesOf(step)![i]!, values.slice(own.from, own.to));
    for (const [name, start] of Object.entries(step.rule.state)) {
      const all = start === "parameter" ? values : new Float32Array(layout.size).fill(start);
      await writeArena(store, state[name]!, own ? all.slice(own.from, own.to) : all);
    }
  }
  await store.write(step.counter, hostTensor("i32", [], [0]));
  if (step.lossScale) await store.write(step.lossScale.state, hostTensor("f32", [], [step.lossScale.initial]));
  if (step.lossScale?.goodSteps) await store.write(step.lossScale.goodSteps, hostTensor("i32", [], [0]));
  for (const { name, type } of step.accumulation?.sums ?? []) await store.write(name, zerosOf(type, job.sizes));
  const frozen = async (node: Node, into: Pick<Store, "write">) =>
    writeFrozen(step, into, inputName(node), await value(node));
  if (parts) await parts.fill(step.frozen, frozen);
  else for (const node of step.frozen) await frozen(node, store);
  for (const node of keptParameters(step)) await store.write(inputName(node), await startingBuffer(job, node));
}

function zerosOf({ dtype, axes }: TensorType, sizes: Sizes): HostTensor {
  const sized = axes.map(({ name, size }) => ({ name, size: dimValue(size, sizes) }));
  return hostTensor(dtype, sized, allocate(dtype, elementCount(sized)));
}

const writeArena = (store: Store, name: string, data: Float32Array) =>
  store.write(name, hostTensor("f32", [{ name: "arena", size: data.length }], data));

/** Selects one flat tensor of an arena, the ith: the parameters, their average, or an optimizer state. */
type Part = (arena: CompiledStep["arenas"][number], i: number) => string;
const parametersOf: Part = (arena) => arena.parameters;
const averageOf: Part = (arena) => arena.average!;
const isAveraged = ({ arenas }: CompiledStep): boolean => arenas.some((arena) => arena.average !== undefined);

/** Tensors in arenas, by checkpoint file. */
const filesOf = (step: CompiledStep): [string, Part][] => [
  ["model", parametersOf],
  ...Object.keys(step.rule.state).map((name): [string, Part] => [`optimizer-${name}`, (arena) => arena.state[name]!]),
  ...(isAveraged(step)
    ? [["average", (arena, i) => averagesOf(step)?.[i] ?? averageOf(arena, i)] as [string, Part]]
    : []),
];

/** This rank's ranges of the average, if it is sharded. */
const averagesOf = ({ accumulation }: CompiledStep) => accumulation?.shared?.shard?.averages;

/** The rank's range of an arena, if the optimizer state is sharded. */
const rangeOf = ({ accumulation }: CompiledStep, i: number): Range | undefined =>
  accumulation?.shared?.shard?.ranges[i];

/** Whether the weights are sharded too. */
const hasWeightsInParts = ({ accumulation }: CompiledStep): boolean =>
  accumulation?.shared?.shard?.divided?.what === "weights";

/** Whether a checkpoint file's content is sharded over ranks. */
const isSharded = (step: CompiledStep, file: string): boolean =>
  step.accumulation?.shared?.shard !== undefined && (file !== "model" || hasWeightsInParts(step));

/** Reads the arenas from the store, split into tensors. */
async function readArenas({ arenas }: CompiledStep, store: Store, part: Part): Promise<Map<string, HostTensor>> {
  const tensors = new Map<string, HostTensor>();
  for (const [i, arena] of arenas.entries()) {
    const { data } = await store.read(part(arena, i));
    for (const { name, type, offset, length } of arena.layout.entries)
      tensors.set(name, hostTensor("f32", type.axes as readonly SizedAxis[], data.subarray(offset, offset + length)));
  }
  return tensors;
}

/**
 * The loss scale and the counters of a run with an adaptive scale: since skipped steps are not updates, they cannot be
 * derived from the step.
 */
const countersOf = ({ lossScale, counter }: CompiledStep): string[] =>
  lossScale?.goodSteps === undefined ? [] : [lossScale.state, lossScale.goodSteps, counter];

/**
 * All parameters of a run by name: trained ones as averages if the step keeps them, frozen ones as originally given,
 * since the store may have rounded them. Sharded weights are gathered one by one.
 */
export async function readWeights(
  job: TrainingJob,
  store: Store,
  parts?: Pick<WeightParts, "ask">,
): Promise<Map<string, HostTensor>> {
  const { step } = job;
  const weights = parts
    ? new Map<string, HostTensor>()
    : await readArenas(step, store, isAveraged(step) ? averageOf : parametersOf);
  if (parts) for (const node of step.trained) weights.set(inputName(node), await parts.ask(inputName(node)));
  for (const node of step.frozen) weights.set(inputName(node), await startingValue(job, node));
  for (const { name } of step.kept) weights.set(name, await store.read(name)); // parameters at inference
  return weights;
}

/** The tensors of a checkpoint: trained parameters by name, and the optimizer's states of each. */
export async function checkpointGroups(step: CompiledStep, store: Store): Promise<Record<string, TensorToWrite[]>> {
  const groups: Record<string, TensorToWrite[]> = {};
  for (const [file, part] of filesOf(step)) {
    const tensors = await readArenas(step, store, part);
    groups[file] = [...tensors].map(([n, t]) => tensorToWrite(n, t));
  }
  return { ...(await otherGroups(step, store)), ...groups };
}

/** Tensors that are not in arenas. */
async function otherGroups(step: CompiledStep, store: Store): Promise<Record<string, TensorToWrite[]>> {
  const kept = await Promise.all(step.kept.map(async ({ name }) => tensorToWrite(name, await store.read(name))));
  const counters = await Promise.all(countersOf(step).map(async (n) => tensorToWrite(n, await store.read(n))));
  return { ...(kept.length > 0 && { kept }), ...(counters.length > 0 && { counters }) };
}

/**
 * The same when state is sharded: files of arenas, of which each rank writes its ranges, and the rest, which rank 0
 * writes.
 */
export async function sharedGroups(step: CompiledStep, store: Store) {
  const tensors = step.arenas.flatMap(({ layout }) => layout.entries.map(({ name, type }) => layoutOf(name, type)));
  const shared = filesOf(step).map(([file, part]): [string, SharedFile] => [
    file,
    { tensors, pieces: () => ownPieces(step, store, part, isSharded(step, file)) },
  ]);
  return { groups: await otherGroups(step, store), shared: Object.fromEntries(shared) };
}

const layoutOf = (name: string, { axes }: TensorType): TensorLayout => ({
  name,
  dtype: storedAs.f32,
  shape: (axes as readonly SizedAxis[]).map((a) => a.size),
});

/** This rank's ranges of the tensors in arenas. */
async function* ownPieces(
  step: CompiledStep,
  store: Store,
  part: Part,
  isOwnAlone: boolean,
): AsyncGenerator<TensorPiece> {
  for (const [i, arena] of step.arenas.entries()) {
    const own = rangeOf(step, i)!;
    if (own.to === own.from) continue;
    const held = (await store.read(part(arena, i))).data;
    const data = Float32Array.from(isOwnAlone ? held : held.subarray(own.from, own.to));
    for (const { name, offset, length } of arena.layout.entries) {
      const [from, to] = [Math.max(offset, own.from), Math.min(offset + length, own.to)];
      if (from < to) yield { name, from: from - offset, data: data.subarray(from - own.from, to - own.from) };
    }
  }
}

/** Fills the store from a checkpoint's tensors; frozen parameters are loaded from their original source. */
export async function restoreState(
  job: TrainingJob,
  store: Store,
  groups: Readonly<Record<string, SafetensorsReader>>,
  done: number,
  path: string,
  parts?: Pick<WeightParts, "fill">,
): Promise<void> {
  const { step } = job;
  await writeInitialState(job, store, parts);
  for (const [file, part] of filesOf(step)) {
    const reader = groups[file];
    if (!reader) throw fileError(path, `it has no ${file} tensors`, "resume from a checkpoint of this job");
    requireTensors(path, reader, step);
    for (const [i, arena] of step.arenas.entries()) {
      const own = isSharded(step, file) ? rangeOf(step, i)! : { from: 0, to: arena.layout.size };
      if (own.to > own.from) await writeArena(store, part(arena, i), await packedFrom(reader, arena.layout, own));
    }
  }
  for (const { name, type } of step.kept) {
    const stored = await groups.kept?.readTensor(name, {
      axes: type.axes.map((a) => a.name),
      dtype: type.dtype,
    });
    if (!stored) throw fileError(path, `it has no state "${name}"`, "resume from a checkpoint of this job");
    await store.write(name, stored);
  }
  await store.write(step.counter, hostTensor("i32", [], [done]));
  for (const name of countersOf(step)) {
    if (!groups.counters)
      throw fileError(path, "it has no loss scale counters", "resume from a checkpoint of this job");
    await store.write(name, await groups.counters.readTensor(name, { axes: [] }));
  }
}

/** Throws FileError listing each tensor of the arenas that is missing in a file or has another shape or dtype. */
function requireTensors(path: string, reader: SafetensorsReader, { arenas }: CompiledStep): void {
  const expected = arenas.flatMap(({ layout }) =>
    layout.entries.map((e) => ({ name: e.name, shape: (e.type.axes as readonly SizedAxis[]).map((a) => a.size) })),
  );
  requireMatch(path, matchTensors(expected, reader));
  const [other] = [...reader.tensors.values()].filter(({ dtype }) => dtype !== storedAs.f32);
  if (other)
    throw fileError(
      path,
      `${quoted(other.name)} is ${other.dtype}, but training state is stored as ${storedAs.f32}`,
      "resume from a checkpoint as the run wrote it",
    );
}

/** Reads only this range of an arena. */
async function packedFrom(reader: SafetensorsReader, { entries }: ArenaLayout, own: Range): Promise<Float32Array> {
  const packed = new Float32Array(own.to - own.from);
  for (const { name, offset, length } of entries) {
    const [from, to] = [Math.max(offset, own.from), Math.min(offset + length, own.to)];
    if (from < to) await reader.readRangeInto(name, from - offset, packed.subarray(from - own.from, to - own.from));
  }
  return packed;
}
