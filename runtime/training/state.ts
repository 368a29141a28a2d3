/** The training state in a store: how it begins, how it is saved, and how it is read back. */
import type { Store } from "../../backends/backend.ts";
import {
  type ArenaLayout,
  type Distribution,
  type HostTensor,
  hostTensor,
  inputName,
  type Node,
  ops,
  type SizedAxis,
} from "../../compiler/index.ts";
import { fileError } from "../file-errors.ts";
import { fillRandom } from "../random/streams.ts";
import { matchTensors, requireMatch } from "../safetensors/match.ts";
import type { SafetensorsReader } from "../safetensors/reader.ts";
import { type TensorToWrite, tensorToWrite } from "../safetensors/writer.ts";
import type { CompiledStep, TrainingJob } from "./job.ts";

const sizes = (node: Node): readonly SizedAxis[] => node.type.axes as readonly SizedAxis[];

/** The random stream that a parameter is drawn from. */
export const initialStream = (node: Node): string => `parameter ${inputName(node)}`;

/** A parameter as its initializer draws it: the same for a name and a seed, whatever else there is. */
export function initialValue(node: Node, seed: number): HostTensor {
  const shape = sizes(node).map((a) => a.size);
  const values = fillRandom(node.attrs.init as unknown as Distribution, shape, seed, initialStream(node));
  return hostTensor("f32", sizes(node), values);
}

/** A parameter as a job begins with it: what it inherits, else what its initializer draws. */
export const startingValue = async (job: Pick<TrainingJob, "initial" | "seed">, node: Node): Promise<HostTensor> =>
  (await job.initial?.(inputName(node))) ?? initialValue(node, job.seed);

/** What a step keeps besides, such as running statistics, as the parameters that it is at inference. */
export const keptParameters = (step: CompiledStep): Node[] =>
  step.kept.map(({ name, type, initial }) =>
    ops.parameter(name, "f32", type.axes, { kind: "constant", value: initial }),
  );

/** Fills the store for a run from the beginning. */
export async function writeInitialState(job: TrainingJob, store: Store): Promise<void> {
  const { step } = job;
  const value = (node: Node) => startingValue(job, node);
  const arena = new Float32Array(step.layout.size);
  for (const [i, node] of step.trained.entries()) arena.set((await value(node)).data, step.layout.entries[i]!.offset);
  await writeArena(store, step.state.parameters, arena);
  await writeArena(store, step.state.mean, new Float32Array(step.layout.size));
  await writeArena(store, step.state.square, new Float32Array(step.layout.size));
  await store.write(step.state.step, hostTensor("i32", [], [0]));
  for (const node of step.frozen) await store.write(inputName(node), await value(node));
  for (const node of keptParameters(step)) await store.write(inputName(node), await value(node));
}

const writeArena = (store: Store, name: string, data: Float32Array) =>
  store.write(name, hostTensor("f32", [{ name: "arena", size: data.length }], data));

/** Every range of an arena in the store, as a tensor of its own. */
async function readArena(store: Store, name: string, layout: ArenaLayout): Promise<Map<string, HostTensor>> {
  const { data } = await store.read(name);
  return new Map(
    layout.entries.map((e) => {
      const part = data.subarray(e.offset, e.offset + e.length);
      return [e.name, hostTensor("f32", e.type.axes as readonly SizedAxis[], part)];
    }),
  );
}

/** All parameters of a run by name, trained and frozen. */
export async function readWeights(step: CompiledStep, store: Store): Promise<Map<string, HostTensor>> {
  const weights = await readArena(store, step.state.parameters, step.layout);
  for (const node of step.frozen) weights.set(inputName(node), await store.read(inputName(node)));
  for (const { name } of step.kept) weights.set(name, await store.read(name)); // at inference they are parameters
  return weights;
}

/** The tensors of a checkpoint: trained parameters by name, and the optimizer's two moments of each. */
export async function checkpointGroups(step: CompiledStep, store: Store): Promise<Record<string, TensorToWrite[]>> {
  const group = async (name: string) =>
    [...(await readArena(store, name, step.layout))].map(([n, t]) => tensorToWrite(n, t));
  const kept = await Promise.all(step.kept.map(async ({ name }) => tensorToWrite(name, await store.read(name))));
  return {
    ...(kept.length > 0 && { kept }),
    model: await group(step.state.parameters),
    "optimizer-mean": await group(step.state.mean),
    "optimizer-square": await group(step.state.square),
  };
}

/** Fills the store from a checkpoint's tensors; the frozen parameters come from where they first came from. */
export async function restoreState(
  job: TrainingJob,
  store: Store,
  groups: Readonly<Record<string, SafetensorsReader>>,
  done: number,
  path: string,
): Promise<void> {
  const { step } = job;
  await writeInitialState(job, store);
  const arenas = {
    model: step.state.parameters,
    "optimizer-mean": step.state.mean,
    "optimizer-square": step.state.square,
  };
  for (const [group, name] of Object.entries(arenas)) {
    const reader = groups[group];
    if (!reader) throw fileError(path, `it has no ${group} tensors`, "resume from a checkpoint of this job");
    await writeArena(store, name, await packedFrom(path, reader, step.layout));
  }
  for (const { name, type } of step.kept) {
    const stored = await groups.kept?.readTensor(name, { axes: type.axes.map((a) => a.name) });
    if (!stored) throw fileError(path, `it has no state "${name}"`, "resume from a checkpoint of this job");
    await store.write(name, stored);
  }
  await store.write(step.state.step, hostTensor("i32", [], [done]));
}

async function packedFrom(path: string, reader: SafetensorsReader, layout: ArenaLayout): Promise<Float32Array> {
  const expected = layout.entries.map((e) => ({
    name: e.name,
    shape: (e.type.axes as readonly SizedAxis[]).map((a) => a.size),
  }));
  requireMatch(path, matchTensors(expected, reader));
  const arena = new Float32Array(layout.size);
  for (const entry of layout.entries) {
    const tensor = await reader.readTensor(entry.name);
    arena.set(tensor.data as Float32Array, entry.offset);
  }
  return arena;
}
