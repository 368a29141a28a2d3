/** The training loop: batches in, steps on the device, figures and checkpoints out; stops and resumes without a trace. */
import { join } from "node:path";
import type { Backend } from "../../backends/backend.ts";
import type { HostTensor } from "../../compiler/index.ts";
import type { Json } from "../checkpoint/state-file.ts";
import { openMetricsLog } from "../metrics-log.ts";
import { startProgress } from "../progress/progress.ts";
import { tensorToWrite, writeSafetensors } from "../safetensors/writer.ts";
import { openEventLog } from "../tensorboard.ts";
import { type Best, bestStepFolder, openBestWeights } from "./best-weights.ts";
import { figuresLog } from "./figures-log.ts";
import { assertFiniteWeights } from "./finite.ts";
import type { CompiledStep, TrainingJob } from "./job.ts";
import { requireRunnable } from "./job-rules.ts";
import { runSteps, type Session } from "./loop.ts";
import { type LossPoint, readLosses } from "./losses.ts";
import { idleClock, type LostTime, lostText } from "./lost-time.ts";
import { compilePhases } from "./phases.ts";
import { begin } from "./resume.ts";
import { metricsFile } from "./run-folder.ts";
import type { TrainOptions } from "./train-options.ts";
import { openValidator } from "./validate.ts";
import { writtenWeights } from "./written-weights.ts";

export type { TrainOptions } from "./train-options.ts";

export interface TrainResult {
  readonly steps: number;
  /** Wall time of this process's part. */
  readonly seconds: number;
  /** True where the signal ended it early. */
  readonly stopped: boolean;
  readonly losses: readonly LossPoint[];
  readonly weights: ReadonlyMap<string, HostTensor>;
  readonly weightsFile: string;
  readonly lost: LostTime;
  /** What the job knows of the data that was read. */
  readonly told: Readonly<Record<string, Json>>;
  /** What validation found best so far, and where its weights are. */
  readonly best?: Best & { readonly folder: string };
}

/**
 * Trains to the job's last step, or until the signal, and writes the weights. Throws UsageError when the loss, the gradient
 * or a weight is no longer a finite number, FileError when something cannot be written; checkpoints saved before stay whole.
 */
export async function train(job: TrainingJob, options: TrainOptions): Promise<TrainResult> {
  const { folder, backend, note } = options;
  requireRunnable(job);
  const begun = performance.now();
  const { precision } = job.step;
  if (precision !== "f32") note(precisionLine(job.step, backend));
  const { frozen, frozenAs } = job.step;
  if (frozenAs && frozen.length > 0) note(`frozen weights are kept in ${frozenAs.dtype}`);
  const store = backend.createStore();
  const phases = await compilePhases(job, backend);
  note(`compiled in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  const beginning = await begin(job, options, store);
  const { done } = beginning;
  const resumeAt = options.resume ? { resumeAt: done } : {};
  const metrics = await openMetricsLog(metricsFile(folder), resumeAt);
  const events = await openEventLog(join(folder, "events"), resumeAt);
  const progress = startProgress({ description: "training", total: job.steps, start: done });
  const log = figuresLog(metrics, events);
  const chosen = job.validate?.best;
  const best = chosen && (await openBestWeights(folder, chosen, beginning.best, note));
  const say = (text: string) => progress.note(text);
  const validator = openValidator({ job, backend, store, best, note: say });
  const clock = idleClock();
  const session: Session = {
    job,
    options,
    phases,
    store,
    log,
    progress,
    clock,
    best,
    validator,
  };
  const started = performance.now();
  try {
    const { steps, cursor } = await runSteps(session, beginning);
    const lost = clock.lost();
    const seconds = (performance.now() - started) / 1000;
    if (steps > done) say(lostText(lost));
    await log.flush();
    const weights = await writtenWeights(job, store);
    const weightsFile = join(folder, "model.safetensors");
    const stopped = steps < job.steps;
    assertFiniteWeights(weights);
    if (!stopped)
      await writeSafetensors(
        weightsFile,
        [...weights].map(([n, t]) => tensorToWrite(n, t)),
      );
    const losses = await readLosses(metricsFile(folder));
    const found = best?.now && { best: { ...best.now, folder: bestStepFolder(folder, best.now) } };
    const told = cursor === undefined ? {} : (job.told?.(cursor) ?? {});
    return { steps, seconds, stopped, weights, weightsFile, losses, lost, told, ...found };
  } finally {
    progress.dispose();
    await Promise.allSettled([metrics.dispose(), events.dispose()]);
    validator?.dispose();
    phases.dispose();
    store.dispose();
  }
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
