/** Training: a job as the command line has it, or a stage and its batches, by the same loop. */
import { join, lockRunFolder, resolve } from "#host";
import { type Graph, type HostTensor, inputName, type Node, type Sizes, UsageError } from "../compiler/index.ts";
import { type Stage, trainingStep } from "../dsl/index.ts";
import {
  type FinishedStage,
  hasSteps,
  type JobFile,
  type LossPoint,
  makeFolder,
  requireRunName,
  type Setting,
  type TrainingJob,
  tidyRunFolder,
  trainInStages,
} from "../runtime/index.ts";
import { requireDevice, requireSizes, requireValueOf } from "./checks.ts";
import type { Device } from "./device.ts";
import { load } from "./weights.ts";

/** A stage of training with what it is fed: all that a run needs where there is no job file. */
export interface Training {
  readonly stage: Stage;
  /** Updates in all. */
  readonly steps: number;
  /**
   * The feeds of a step by the names of the stage's inputs; steps are counted from 0. A run that goes on asks for the steps
   * that it lost again: what is given may hang on the step alone.
   */
  readonly batch: (step: number) => Feeds | Promise<Feeds>;
  /** Numbers for the open sizes, such as { batch: 8 }. */
  readonly sizes?: Sizes;
  /** For initializers and random inputs. Default 0. */
  readonly seed?: number;
  /** Steps between checkpoints. Default 100. */
  readonly checkpointEvery?: number;
  /** What parameters begin with, by their names; what is not there is initialized. */
  readonly from?: ReadonlyMap<string, HostTensor>;
  /** The whole model, where the loss uses a part of it. */
  readonly model?: Graph;
}

type Feeds = Readonly<Record<string, HostTensor>>;

/** What can be trained: what `defineJob` gives, what a job builds, or a stage with batches. */
export type Trainable<C extends JobSettings = JobSettings> = JobFile<C> | TrainingJob | Training;

/** The settings of a job file. */
export type JobSettings = Readonly<Record<string, Setting>>;

/** Where and how something is trained. */
export interface TrainOptions<C extends JobSettings = JobSettings> {
  readonly device: Device;
  /**
   * Where checkpoints, logs and weights are kept; default `runs/` and the name of the job or stage. A run that is there goes
   * on from its newest checkpoint. In a page it is a folder of `useFileSystem`.
   */
  readonly folder?: string;
  /** Settings of a job file, in place of its defaults. */
  readonly settings?: Partial<C>;
  /** Ends the run after the step at hand, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** Is told the figures of each step by name, `loss` among them, up to a few steps after it was begun. */
  readonly onStep?: (step: number, figures: Readonly<Record<string, number>>) => void;
  /** Is told lines for people. */
  readonly onNote?: (text: string) => void;
}

/** What became of a training. */
export interface Trained {
  readonly folder: string;
  /** Steps done of the last stage. */
  readonly steps: number;
  /** True where the signal ended it: the same call goes on. */
  readonly stopped: boolean;
  /** Of the last stage, from its first step on; those of a run that was stopped are in its folder. */
  readonly losses: readonly LossPoint[];
  /** All parameters by name, the frozen ones included; none of a run that was stopped. */
  readonly weights: ReadonlyMap<string, HostTensor>;
}

/**
 * Trains to the last step, or until the signal. Killed or stopped, the same call with the same folder goes on, to the same
 * weights. Throws UsageError where the loss or the gradient is no finite number any more or the folder is another run's,
 * FileError where nothing can be written; checkpoints that were saved stay whole.
 */
export async function train<C extends JobSettings>(what: Trainable<C>, options: TrainOptions<C>): Promise<Trained> {
  const { device, signal, onStep, onNote: note = () => {} } = options;
  requireDevice(device);
  const job = await jobOf(what, options.settings);
  const folder = options.folder ?? join("runs", nameOf(what));
  await makeFolder(folder);
  const lock = await lockRunFolder(resolve(folder));
  try {
    await tidyRunFolder(folder);
    const result = await trainInStages(job, {
      folder,
      backend: device,
      deviceReason: device.reason,
      resume: await hasSteps(folder),
      quiet: true,
      note,
      ...(signal && { signal }),
      ...(onStep && { onStep }),
    });
    if (result.stopped) return { folder, steps: result.steps, stopped: true, losses: [], weights: new Map() };
    return await finished(result.stages.at(-1)!, folder);
  } finally {
    await lock.dispose();
    await job.dispose?.();
  }
}

async function finished({ steps, losses, folder: at }: FinishedStage, folder: string): Promise<Trained> {
  const file = await load(join(at, "model.safetensors"));
  try {
    const weights = new Map<string, HostTensor>();
    for (const name of file.tensors.keys()) weights.set(name, await file.read(name));
    return { folder, steps, stopped: false, losses, weights };
  } finally {
    await file.dispose();
  }
}

function nameOf<C extends JobSettings>(what: Trainable<C>): string {
  const name = "kind" in what ? what.name : "stage" in what ? what.stage.name : what.step.graph.name;
  requireRunName(name);
  return name;
}

async function jobOf<C extends JobSettings>(
  what: Trainable<C>,
  settings: Partial<C> | undefined,
): Promise<TrainingJob> {
  if (!isTrainable(what))
    throw new UsageError(
      "what is trained is a job, as defineJob gives it or as one builds it, or { stage, steps, batch }",
    );
  if ("kind" in what) {
    const unknown = Object.keys(settings ?? {}).filter((key) => !Object.hasOwn(what.config, key));
    if (unknown.length === 0) return await what.build({ ...what.config, ...settings });
    throw new UsageError(
      `${what.name} has no setting ${unknown.join(", ")}; it has ${Object.keys(what.config).join(", ")}`,
    );
  }
  if (settings) throw new UsageError("settings are those of a job file: this is a job that is built already");
  return "stage" in what ? stageJob(what) : what;
}

function stageJob(what: Training): TrainingJob {
  const { stage, steps, batch, sizes = {}, seed = 0, checkpointEvery = 100, from, model } = what;
  if (typeof batch !== "function") throw new UsageError("batch is a function from a step to its feeds");
  const step = trainingStep(stage);
  requireSizes(step.graph, sizes);
  if (from) requireSome(from, [...step.trained, ...step.frozen], stage.name);
  return {
    step,
    steps,
    sizes,
    seed,
    checkpointEvery,
    ...(model && { model }),
    ...(from && { initial: async (name) => from.get(name) }),
    async *batches(cursor) {
      for (let step = Number(cursor ?? 0); ; step++) yield { feeds: await batch(step), next: step + 1 };
    },
  };
}

/** Throws UsageError for tensors to begin with none of which is a parameter's, and for one of another shape. */
function requireSome(from: ReadonlyMap<string, HostTensor>, parameters: readonly Node[], stage: string): void {
  if (!(from instanceof Map)) throw new UsageError("what parameters begin with is a Map of tensors by their names");
  const known = parameters.filter((node) => from.has(inputName(node)));
  for (const node of known) requireValueOf(node, from.get(inputName(node))!);
  if (known.length > 0 || from.size === 0) return;
  const listed = (names: readonly string[]) => names.slice(0, 4).join(", ");
  throw new UsageError(
    `none of the tensors to begin with (${listed([...from.keys()])}) is a parameter of "${stage}", which has ${listed(parameters.map(inputName))}`,
  );
}

const isTrainable = (what: object): boolean =>
  typeof what === "object" &&
  what !== null &&
  ("kind" in what
    ? what.kind === "heddle.job"
    : "stage" in what
      ? typeof (what.stage as Partial<Stage>)?.loss === "function"
      : "step" in what);
