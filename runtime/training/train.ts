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
import { begin } from "./resume.ts";
import { metricsFile } from "./run-folder.ts";
import type { TrainOptions } from "./train-options.ts";
import { openValidator, servingValidator } from "./validate.ts";
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
  const { folder, backend, note, ranks = oneRank, shard, partBytes } = options;
  requireRunnable(requireBuilt(given, "the training"));
  const begun = performance.now();
  const { precision } = given.step;
  if (precision !== "f32") note(precisionLine(given.step, backend));
  const { frozen, frozenAs } = given.step;
  if (frozenAs && frozen.length > 0) note(`frozen weights are kept in ${frozenAs.dtype}`);
  const isAlone = ranks.collectives.size === 1;
  const shared = isAlone ? alone(given) : inRanks(given, ranks, shard, partBytes);
  const { job, share, batches, between, agree, together } = shared;
  const divided = between?.divided;
  const parts = divided?.weights && { weights: divided.weights, bytes: divided.partBytes };
  const store = backend.createStore();
  const phases = await compilePhases(job, backend, between);
  note(`compiled in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  const beginning = await begin(job, options, store, parts?.weights);
  await parts?.weights.refresh(store);
  await phases.prepare?.(store);
  if (divided) note(partsLine(divided));
  if (share) await placeRank(job.step, share, store);
  const { done } = beginning;
  const figures = await openFigures(folder, { note: options.note, ...(options.resume && { resumeAt: done }) }, ranks);
  const progress = options.quiet
    ? { ...silentProgress, note }
    : ranks.isFirst
      ? startProgress({ description: "training", total: job.steps, start: done, onNote: note })
      : silentProgress;
  const chosen = ranks.isFirst ? job.validate?.best : undefined;
  const best = chosen && (await openBestWeights(folder, chosen, beginning.best, note));
  const say = (text: string) => progress.note(text);
  const validating = { job, backend, store, best, note: say, ...(parts && { parts }) };
  const validator = ranks.isFirst ? openValidator(validating) : parts && servingValidator(job, parts.weights);
  const clock = idleClock();
  const session: Session = {
    job,
    options,
    phases,
    store,
    log: figures.log,
    progress,
    clock,
    best,
    validator,
    batches,
    ranks,
    share,
    agree,
  };
  const started = performance.now();
  try {
    const { steps, cursor } = await runSteps(session, beginning);
    const lost = clock.lost();
    const seconds = (performance.now() - started) / 1000;
    if (steps > done) say(lostText(lost));
    const among = steps > done ? together?.() : undefined;
    if (among) say(among.text);
    await figures.log.flush();
    const weights = await lastWeights(job, store, ranks, parts?.weights);
    const weightsFile = join(folder, "model.safetensors");
    const stopped = steps < job.steps;
    assertFiniteWeights(weights);
    if (!stopped && ranks.isFirst)
      await writeSafetensors(
        weightsFile,
        [...weights].map(([n, t]) => tensorToWrite(n, t)),
      );
    const losses = ranks.isFirst ? await readLosses(metricsFile(folder)) : [];
    const found = best?.now && { best: { ...best.now, folder: bestStepFolder(folder, best.now) } };
    const told = cursor === undefined ? {} : (job.told?.(cursor) ?? {});
    return {
      steps,
      seconds,
      stopped,
      weights,
      weightsFile,
      losses,
      lost,
      told,
      ...(among && { ranks: among.figures }),
      ...found,
    };
  } catch (error) {
    if (!(error instanceof NonFiniteStepError) || share) throw error;
    store.dispose(); // its memory is needed for a second one
    const source = await nonFiniteSource({ job, options, phases, say }, error.step).catch((fault: unknown) => {
      say(`not found: ${fault instanceof Error ? fault.message : fault}`);
    });
    throw source === undefined ? error : new UsageError(`${error.message}\n  the first such value is ${source}`);
  } finally {
    progress.dispose();
    await figures.dispose();
    validator?.dispose();
    phases.dispose();
    store.dispose();
  }
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

/** "precision: f16 on matrices, as the adapter ...; parameters, gradients and optimizer in f32, loss scale 1024". */
function precisionLine({ precision, lossScale }: CompiledStep, backend: Backend): string {
  const { path, why } = backend.precision({ precision, parameters: "f32" });
  return `precision: ${path}, because ${why}; parameters, gradients and optimizer in f32, ${scaleText(lossScale)}`;
}

const scaleText = (lossScale: CompiledStep["lossScale"]): string =>
  lossScale?.goodSteps
    ? `a loss scale that adapts, from ${lossScale.initial}`
    : `loss scale ${lossScale?.initial ?? 1}`;
