/** What is trained: a stage of a model, or a user's own job, for commands that say what it takes before it runs. */
import { type Graph, graphSymbols, type Precision, type Sizes, UsageError } from "../compiler/index.ts";
import type { TrainingStep } from "../dsl/index.ts";
import type { CompiledStep, TrainingJob } from "../runtime/index.ts";
import { isJob, loadConfigured, loadJob } from "./load.ts";
import { sizesOf } from "./sizes.ts";
import { stageStep } from "./stage-step.ts";

export interface TrainingSubject {
  /** "internvl-g, stage 2", or the job's name. */
  readonly name: string;
  readonly step: TrainingStep | CompiledStep;
  /** The whole model, also what its loss does not use; none of a job that does not say it. */
  readonly model: Graph | undefined;
  /** Numbers for the open sizes of the step, but for `batch` where a plan chooses it. */
  readonly sizes: Sizes;
  /** Samples of one update over all devices, and updates: as published, or as the job has them. */
  readonly batch?: number | undefined;
  readonly steps?: number | undefined;
}

export interface SubjectArguments {
  readonly set: readonly string[];
  readonly size: readonly string[];
  readonly stage?: string;
  readonly precision?: Precision;
}

/** The open size that samples are counted by. */
export const samples = "batch";

/** Throws UsageError where neither a job nor a stage of a model is named. */
export async function trainingSubject(source: string, args: SubjectArguments): Promise<TrainingSubject> {
  if (await isJob(source)) {
    if (args.stage !== undefined)
      throw new UsageError(`--stage names a stage of a model; "${source}" is a job, which is one`);
    return await jobSubject(source, args);
  }
  if (args.stage === undefined)
    throw new UsageError(`say which stage of "${source}" is meant, as in --stage 2; a job.ts needs none`);
  const named = await loadConfigured(source, { set: args.set, stage: args.stage, weights: undefined });
  const { step, model, recipe } = stageStep(source, args.stage, named, undefined, args.precision ?? "f32");
  const sizes = sizesOf(step.graph, { batch: 1, size: args.size });
  return {
    name: `${named.name}, stage ${args.stage}`,
    step,
    model: model(),
    sizes,
    batch: recipe.batch,
    steps: recipe.steps,
  };
}

/** A job as its settings make it, which may open its data; nothing is read from it. */
export async function jobSubject(source: string, { set, size, precision }: SubjectArguments): Promise<TrainingSubject> {
  const { job, config } = await loadJob(source, set, precision);
  return subjectOf(job.name, await job.build(config), size);
}

export function subjectOf(
  name: string,
  { step, model, sizes, steps }: TrainingJob,
  size: readonly string[],
): TrainingSubject {
  const given = size.length === 0 ? {} : sizesOf(step.graph, { batch: 1, size });
  const own = Object.fromEntries(size.map((s) => s.split("=")[0]!).map((n) => [n, given[n]!]));
  const micro = sizes[samples];
  const batch = micro === undefined ? undefined : micro * (step.accumulation?.count ?? 1);
  return { name, step, model, sizes: { ...sizes, ...own }, batch, steps };
}

/** Whether the number of samples is open until a plan chooses it. */
export const isOpen = ({ step }: Pick<TrainingSubject, "step">): boolean => graphSymbols(step.graph).includes(samples);
