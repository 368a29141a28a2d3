/**
 * Trains a job: batches in, steps on the device, metrics and checkpoints out. On the same machine and device, a run
 * that was stopped and resumed gives bit-identical results to an uninterrupted one.
 */
import { join, startProgress } from "#host";
import { inRanks, placeRank } from "#several-ranks";
import type { Backend, Store } from "../../backends/backend.ts";
import { type HostTensor, UsageError } from "../../compiler/index.ts";
import type { Json } from "../checkpoint/state-file.ts";
import { oneRank, type Ranks } from "../collectives/index.ts";
import { formatBytes } from "../file-errors.ts";
import type { Progress } from "../host/host.ts";
import { openMetricsLog } from "../metrics-log.ts";
import { ownLayoutMark } from "../safetensors/own-layout.ts";
import { tensorToWrite, writeSafetensors } from "../safetensors/writer.ts";
import type { DividedState } from "../sharding/part-runs.ts";
import type { WeightParts } from "../sharding/weight-parts.ts";
import { openEventLog } from "../tensorboard.ts";
import { type Best, bestStepFolder, openBestWeights } from "./best-weights.ts";
import { figuresLog, unlogged } from "./figures-log.ts";
import { assertFiniteWeights, NonFiniteStepError } from "./finite.ts";
import type { InRanks, RankFigures } from "./in-ranks.ts";
import type { CompiledStep, TrainingJob } from "./job.ts";
import { requireBuilt, requireRunnable } from "./job-rules.ts";
import { runSteps, type Session } from "./loop.ts";
import { type LossPoint, readLosses } from "./losses.ts";
import { idleClock, type LostTime, lostText } from "./lost-time.ts";
import { nonFiniteSource } from "./non-finite-source.ts";
import { compilePhases } from "./phases.ts";
import { type Beginning, begin } from "./resume.ts";
import { metricsFile } from "./run-folder.ts";
import type { SharedAverages } from "./runs.ts";
import type { TrainOptions } from "./train-options.ts";
import { ofAverages, openValidator, servingValidator, type Validator } from "./validate.ts";
import { writtenWeights } from "./written-weights.ts";

export type { TrainOptions } from "./train-options.ts";

export interface TrainResult {
  readonly steps: number;
  /** Wall time of this process only. */
  readonly seconds: number;
  /** True if the signal ended it early. */
  readonly stopped: boolean;
  readonly losses: readonly LossPoint[];
  readonly weights: ReadonlyMap<string, HostTensor>;
  readonly weightsFile: string;
  readonly lost: LostTime;
  /** Communication statistics, with several ranks. */
  readonly ranks?: RankFigures;
  /** The job's statistics of the data that was read. */
  readonly told: Readonly<Record<string, Json>>;
  /** The best validation result so far, and where its weights are. */
  readonly best?: Best & { readonly folder: string };
}

/**
 * Trains until the job's last step, or until the signal, and writes the weights. Throws UsageError when the loss, the
 * gradient or a weight is not finite, FileError when something cannot be written; checkpoints saved before stay intact.
 */
export async function train(given: TrainingJob, options: TrainOptions): Promise<TrainResult> {
  requireRunnable(requireBuilt(given, "the training"));
  notePrecision(given.step, options);
  const run = await openRun(given, options);
  try {
    return await runToEnd(run);
  } catch (error) {
    throw await withSource(run.session, error);
  } finally {
    await run.dispose();
  }
}

/** What is open during a run. */
interface Run {
  readonly session: Session;
  readonly beginning: Beginning;
  /** The weights, if they are sharded over the ranks. */
  readonly weights: WeightParts | undefined;
  /** The moving average, if it is sharded over the ranks. */
  readonly averages: SharedAverages | undefined;
  /** The ranks' communication so far, with several ranks. */
  readonly together: InRanks["together"];
  dispose(): Promise<void>;
}

/** Compiles the step, fills the store and opens the logs. */
async function openRun(given: TrainingJob, options: TrainOptions): Promise<Run> {
  const { folder, backend, note, ranks = oneRank, shard, partBytes } = options;
  const begun = performance.now();
  const isAlone = ranks.collectives.size === 1;
  const { together, ...shared } = isAlone ? alone(given) : inRanks(given, ranks, shard, partBytes);
  const { job, share, between } = shared;
  const weights = between?.divided?.weights;
  const store = backend.createStore();
  const phases = await compilePhases(job, backend, between);
  note(`compiled in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  const beginning = await begin(job, options, store, weights);
  await weights?.refresh(store);
  await phases.prepare?.(store);
  if (between?.divided) note(partsLine(between.divided));
  if (share) await placeRank(job.step, share, store);
  const figures = await openFigures(folder, { note, ...(options.resume && { resumeAt: beginning.done }) }, ranks);
  const progress = progressOf(job, beginning, options);
  const best = await openBest(job, beginning, options);
  const validator = validatorOf({ ...shared, store, best, progress }, options);
  const clock = idleClock();
  const { log } = figures;
  return {
    session: { ...shared, options, phases, store, log, progress, clock, best, validator, ranks },
    beginning,
    weights,
    averages: between?.averages,
    together,
    async dispose() {
      progress.dispose();
      await figures.dispose();
      validator?.dispose();
      phases.dispose();
      store.dispose();
    },
  };
}

/** Runs the steps, and writes the weights after the last one. */
async function runToEnd({ session, beginning, weights: parts, averages, together }: Run): Promise<TrainResult> {
  const { job, options, store, ranks, clock, progress, best } = session;
  const started = performance.now();
  const { steps, cursor } = await runSteps(session, beginning);
  const lost = clock.lost();
  const seconds = (performance.now() - started) / 1000;
  const stopped = steps < job.steps;
  const among = steps > beginning.done ? together?.() : undefined;
  if (steps > beginning.done) progress.note(lostText(lost));
  if (among) progress.note(among.text);
  await session.log.flush();
  await averages?.show(store);
  const weights = await lastWeights(job, store, ranks, parts);
  const weightsFile = join(options.folder, "model.safetensors");
  assertFiniteWeights(weights);
  if (!stopped && ranks.isFirst)
    await writeSafetensors(
      weightsFile,
      [...weights].map(([n, t]) => tensorToWrite(n, t)),
      { metadata: ownLayoutMark },
    );
  return {
    ...{ steps, seconds, stopped, weights, weightsFile, lost },
    losses: ranks.isFirst ? await readLosses(metricsFile(options.folder)) : [],
    told: cursor === undefined ? {} : (job.told?.(cursor) ?? {}),
    ...(among && { ranks: among.figures }),
    ...(best?.now && { best: { ...best.now, folder: bestStepFolder(options.folder, best.now) } }),
  };
}

/** The error of a run; if a value was not finite, with the first such value, which is searched for. */
async function withSource({ job, options, phases, store, share, progress }: Session, error: unknown): Promise<unknown> {
  if (!(error instanceof NonFiniteStepError) || share) return error;
  store.dispose(); // its memory is needed for a second one
  const say = (text: string) => progress.note(text);
  const source = await nonFiniteSource({ job, options, phases, say }, error.step).catch((fault: unknown) => {
    say(`not found: ${fault instanceof Error ? fault.message : fault}`);
  });
  return source === undefined ? error : new UsageError(`${error.message}\n  the first such value is ${source}`);
}

function progressOf(job: TrainingJob, { done }: Beginning, options: TrainOptions): Progress {
  const { note, quiet, ranks = oneRank } = options;
  if (quiet) return { ...silentProgress, note };
  if (!ranks.isFirst) return silentProgress;
  return startProgress({ description: "training", total: job.steps, start: done, onNote: note });
}

/** Where rank 0 keeps the best weights, if the job asks for that. */
async function openBest({ validate }: TrainingJob, beginning: Beginning, options: TrainOptions) {
  const { folder, note, ranks = oneRank } = options;
  if (!ranks.isFirst || !validate?.best) return undefined;
  return await openBestWeights(folder, validate.best, beginning.best, note);
}

/** Rank 0 validates; the other ranks serve their weights meanwhile, if these are sharded. */
function validatorOf(
  { job, store, best, progress, between }: Pick<Session, "job" | "store" | "best" | "progress"> & InRanks,
  { backend, ranks = oneRank }: TrainOptions,
): Validator | undefined {
  const { weights, partBytes } = between?.divided ?? {};
  const averages = between?.averages;
  const parts = weights && { parts: { weights, bytes: partBytes! } };
  const note = (text: string) => progress.note(text);
  const validator = ranks.isFirst
    ? openValidator({ job, backend, store, best, note, ...parts })
    : weights || averages
      ? servingValidator(job, weights)
      : undefined;
  return validator && averages ? ofAverages(validator, averages, store) : validator;
}

/** The job of a single rank, as it is. */
const alone = (job: TrainingJob): InRanks => ({
  job,
  share: undefined,
  batches: job.batches,
  between: undefined,
  agree: async (asked) => asked,
});

/** "gradients and weights in shards: 1.2 GB of host memory per rank; at most 268.4 MB ... are gathered at a time" */
function partsLine({ gradients, weights, partBytes }: DividedState): string {
  const held = gradients.bytes + (weights?.bytes() ?? 0);
  return `gradients${weights ? " and weights" : ""} in shards: ${formatBytes(held)} of host memory per rank; at most ${formatBytes(partBytes)}, or those of one operation, are gathered at a time`;
}

/** The final weights, on rank 0; the other ranks serve their parts. */
async function lastWeights(job: TrainingJob, store: Store, { isFirst }: Ranks, parts: WeightParts | undefined) {
  if (isFirst) return await writtenWeights(job, store, parts).finally(() => parts?.dismiss());
  await parts?.serve();
  return new Map<string, HostTensor>();
}

/** The logs of a run; only rank 0 writes them. */
async function openFigures(
  folder: string,
  how: { readonly resumeAt?: number; readonly note: (text: string) => void },
  { isFirst }: Ranks,
) {
  if (!isFirst) return { log: unlogged, dispose: async () => {} };
  const metrics = await openMetricsLog(metricsFile(folder), how);
  const events = await openEventLog(join(folder, "events"), how);
  return {
    log: figuresLog(metrics, events),
    dispose: async () => void (await Promise.allSettled([metrics.dispose(), events.dispose()])),
  };
}

const silentProgress: Progress = { update: () => {}, note: () => {}, dispose: () => {} };

/** Notes in which precision a step computes, and keeps its frozen weights, if it is not f32. */
function notePrecision(step: CompiledStep, { backend, note }: TrainOptions): void {
  if (step.precision !== "f32") note(precisionLine(step, backend));
  if (step.frozenAs && step.frozen.length > 0) note(`frozen weights are kept in ${step.frozenAs.dtype}`);
}

/** "precision: f16 on matrices, as the adapter ...; parameters, gradients and optimizer in f32, loss scale 1024". */
function precisionLine({ precision, lossScale }: CompiledStep, backend: Backend): string {
  const { path, why } = backend.precision({ precision, parameters: "f32" });
  return `precision: ${path}, because ${why}; parameters, gradients and optimizer in f32, ${scaleText(lossScale)}`;
}

const scaleText = (lossScale: CompiledStep["lossScale"]): string =>
  lossScale?.goodSteps
    ? `a loss scale that adapts, from ${lossScale.initial}`
    : `loss scale ${lossScale?.initial ?? 1}`;
