/** What can be trained, and its conversion to a job. */
import { type Graph, type HostTensor, inputName, type Node, type Sizes, UsageError } from "../compiler/index.ts";
import { type Stage, trainingStep } from "../dsl/index.ts";
import { type JobFile, requireRunName, type Setting, type TrainingJob } from "../runtime/index.ts";
import { requireSizes, requireValueOf } from "./checks.ts";
import { type GivenSettings, settingsFor } from "./job-settings.ts";
import { always, kinds, type OptionTable, requireOptions } from "./options.ts";

/** A training stage with its batches: all that a run needs without a job file. */
export interface Training {
  readonly stage: Stage;
  /** Total updates. */
  readonly steps: number;
  /**
   * The feeds of a step by input name; steps count from 0. A resumed run asks again for the steps it lost, so the feeds
   * must depend only on `step`.
   */
  readonly batch: (step: number) => Feeds | Promise<Feeds>;
  /** Values of symbolic sizes, such as { batch: 8 }. */
  readonly sizes?: Sizes;
  /** Seed of initializers and random inputs. Default 0. */
  readonly seed?: number;
  /** Steps between checkpoints. Default 100. */
  readonly checkpointEvery?: number;
  /** Initial values of parameters, by name; others are initialized. */
  readonly from?: ReadonlyMap<string, HostTensor>;
  /** The whole model, if the loss uses only a part of it. */
  readonly model?: Graph;
}

type Feeds = Readonly<Record<string, HostTensor>>;

/** What can be trained: the result of `defineJob`, a job that one built, or a stage with batches. */
export type Trainable<C extends JobSettings = JobSettings> = JobFile<C> | TrainingJob | Training;

/** The settings of a job file. */
export type JobSettings = Readonly<Record<string, Setting>>;

/** The name of a run whose folder is not given. */
export function nameOf<C extends JobSettings>(what: Trainable<C>): string {
  const name = isJobFile(what) ? what.name : isTraining(what) ? what.stage.name : what.step.graph.name;
  requireRunName(name);
  return name;
}

const isJobFile = <C extends JobSettings>(what: Trainable<C>): what is JobFile<C> => "kind" in what;
const isTraining = <C extends JobSettings>(what: Trainable<C>): what is Training => "stage" in what;

/** Throws UsageError for a value that cannot be trained. */
export function requireTrainable<C extends JobSettings>(what: Trainable<C>): void {
  if (!isTrainable(what))
    throw new UsageError("expected a job from defineJob, a built job, or { stage, steps, batch }");
  if (isJobFile(what)) return;
  if (isTraining(what)) requireOptions("a training", what, trainingFields);
  else requireOptions("a job", what, jobFields);
}

const isTrainable = (what: unknown): boolean => {
  if (typeof what !== "object" || what === null) return false;
  const { kind, build, stage, step } = what as {
    kind?: unknown;
    build?: unknown;
    stage?: Partial<Stage>;
    step?: object;
  };
  if (kind !== undefined) return kind === "heddle.job" && typeof build === "function";
  return typeof stage?.loss === "function" || (typeof step === "object" && step !== null && "graph" in step);
};

const isTensors = (value: unknown): boolean => value instanceof Map;
const isGraph = (value: unknown): boolean => Array.isArray((value as Graph | null)?.outputs);
const wholeModel = { is: isGraph, needed: "a graph from trace(model)" };

const trainingFields: OptionTable<Training> = {
  stage: always(kinds.anything),
  steps: always(kinds.number),
  batch: always({ is: kinds.callback.is, needed: "a function that returns the feeds of a step" }),
  sizes: kinds.sizes,
  seed: kinds.number,
  checkpointEvery: kinds.number,
  from: { is: isTensors, needed: "a Map of tensors by parameter name" },
  model: wholeModel,
};

const jobFields: OptionTable<TrainingJob> = {
  step: always(kinds.anything),
  steps: always(kinds.number),
  sizes: always(kinds.sizes),
  seed: always(kinds.number),
  checkpointEvery: always(kinds.number),
  checkpointMinutes: kinds.number,
  batches: always({ is: kinds.callback.is, needed: "a generator of batches" }),
  ownRows: kinds.anything,
  initial: kinds.callback,
  model: wholeModel,
  checkpoints: kinds.anything,
  listing: { is: (value) => typeof value === "string", needed: "a string" },
  told: kinds.callback,
  report: kinds.anything,
  dispose: kinds.callback,
  validate: kinds.anything,
  finish: kinds.callback,
  next: kinds.anything,
};

/** A job to run, and whether its settings differ from those that its run began with. */
export interface Built {
  readonly job: TrainingJob;
  /** The settings that a job file was built with, which the run's folder keeps. */
  readonly settings?: Readonly<Record<string, Setting>>;
  readonly isChanged: boolean;
}

/** Builds the job to train; `began` are the settings that a resumed run began with. */
export async function jobOf<C extends JobSettings>(
  what: Trainable<C>,
  given: Partial<C> | undefined,
  began: JobSettings | undefined,
  note: (text: string) => void,
): Promise<Built> {
  if (isJobFile(what)) {
    const { settings, isChanged } = settingsFor(what, (given ?? {}) as GivenSettings, began, note);
    return { job: await what.build(settings as C), settings, isChanged };
  }
  if (given) throw new UsageError("settings apply to a job from defineJob; this job is already built");
  return { job: isTraining(what) ? stageJob(what) : what, isChanged: false };
}

function stageJob(what: Training): TrainingJob {
  const { stage, steps, batch, sizes = {}, seed = 0, checkpointEvery = 100, from, model } = what;
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

/** Throws UsageError if no initial tensor belongs to a parameter, and for one of another shape. */
function requireSome(from: ReadonlyMap<string, HostTensor>, parameters: readonly Node[], stage: string): void {
  const known = parameters.filter((node) => from.has(inputName(node)));
  for (const node of known) requireValueOf(node, from.get(inputName(node))!);
  if (known.length > 0 || from.size === 0) return;
  const listed = (names: readonly string[]) => names.slice(0, 4).join(", ");
  throw new UsageError(
    `none of the initial tensors (${listed([...from.keys()])}) is a parameter of "${stage}", which has ${listed(parameters.map(inputName))}`,
  );
}
