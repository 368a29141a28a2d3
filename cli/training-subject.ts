/** What to train: a model's stage or a user's job, for commands that analyse it without running. */
import { type Graph, graphSymbols, type Precision, type Sizes, UsageError } from "../compiler/index.ts";
import type { TrainingStep } from "../dsl/index.ts";
import type { CompiledStep, NextStage, TrainingJob } from "../runtime/index.ts";
import { isJob, loadConfigured, loadJob } from "./load.ts";
import { sizesOf } from "./sizes.ts";
import { stageStep } from "./stage-step.ts";

export interface TrainingSubject {
  /** "internvl-g, stage 2", or the job's name. */
  readonly name: string;
  readonly step: TrainingStep | CompiledStep;
  /** The whole model, including parts its loss does not use; undefined for a job that does not give it. */
  readonly model: Graph | undefined;
  /** Values of the step's symbolic sizes, except `batch` if a plan chooses it. */
  readonly sizes: Sizes;
  /** The stages of a job that follow this one, for `--stage`; none for a model's stage. */
  readonly following?: readonly string[];
  /** Samples per update over all devices, and number of updates: as published, or from the job. */
  readonly batch?: number | undefined;
  readonly steps?: number | undefined;
}

export interface SubjectArguments {
  readonly set: readonly string[];
  readonly size: readonly string[];
  readonly stage?: string;
  readonly precision?: Precision;
}

/** The symbolic size that counts samples. */
export const samples = "batch";

/** The training subject of a source. Throws UsageError if it is neither a job nor a stage of a model. */
export async function trainingSubject(source: string, args: SubjectArguments): Promise<TrainingSubject> {
  if (await isJob(source)) return await jobSubject(source, args);
  if (args.stage === undefined)
    throw new UsageError(`choose a stage of "${source}", as in --stage 2; a job.ts needs none`);
  const named = await loadConfigured(source, { set: args.set, stage: args.stage, weights: undefined });
  const { step, model, recipe } = stageStep(source, args.stage, named, undefined, args.precision);
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

/**
 * A job built with its settings: its first stage, or that of the name `stage`; it may open its data but reads none.
 * Throws UsageError if no stage has that name.
 */
export async function jobSubject(
  source: string,
  { set, size, stage, precision }: SubjectArguments,
): Promise<TrainingSubject> {
  const { job, config } = await loadJob(source, set, precision);
  const first = await job.build(config);
  const own = first.step.graph.name;
  if (stage === undefined || stage === own) {
    const following = first.next?.map(({ name }) => name);
    return { ...subjectOf(job.name, first, size), ...(following && { following }) };
  }
  const next = requireStage(source, stage, own, first.next ?? []);
  return subjectOf(`${job.name}, stage ${stage}`, await next.build(), size);
}

function requireStage(source: string, stage: string, own: string, following: readonly NextStage[]): NextStage {
  const found = following.find(({ name }) => name === stage);
  if (found) return found;
  const names = [own, ...following.map(({ name }) => name)];
  const known = names.length === 1 ? `one stage, ${own}` : `the stages ${names.join(", ")}`;
  throw new UsageError(`--stage ${stage}: the job "${source}" has ${known}`);
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

/** Whether the batch size is symbolic, for a plan to choose. */
export const isOpen = ({ step }: Pick<TrainingSubject, "step">): boolean => graphSymbols(step.graph).includes(samples);
