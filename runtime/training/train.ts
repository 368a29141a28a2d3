/** The training loop: batches in, steps on the device, figures and checkpoints out; stops and resumes without a trace. */
import { join } from "node:path";
import type { Backend, Store } from "../../backends/backend.ts";
import { type HostTensor, inputName, spanned, timeline, UsageError } from "../../compiler/index.ts";
import { loadNewestCheckpoint, saveCheckpoint } from "../checkpoint/checkpoint.ts";
import type { Json } from "../checkpoint/state-file.ts";
import { type MetricsLog, openMetricsLog } from "../metrics-log.ts";
import { type Progress, startProgress } from "../progress/progress.ts";
import { tensorToWrite, writeSafetensors } from "../safetensors/writer.ts";
import { type EventLog, openEventLog } from "../tensorboard.ts";
import { mergedWeights } from "./adapters.ts";
import { assertFiniteFigures, assertFiniteWeights } from "./finite.ts";
import { type CompiledStep, type TrainingBatch, type TrainingJob, unusedParameters } from "./job.ts";
import { requireRunnable } from "./job-rules.ts";
import { type LossPoint, readLosses } from "./losses.ts";
import { compilePhases, type Feeds, type Phases } from "./phases.ts";
import { checkpointsFolder, metricsFile } from "./run-folder.ts";
import { checkpointGroups, readWeights, restoreState, startingValue, writeInitialState } from "./state.ts";

export interface TrainOptions {
  readonly folder: string;
  readonly backend: Backend;
  /** Go on from the folder's newest checkpoint. */
  readonly resume?: boolean;
  /** Stop after the step at hand, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly note: (text: string) => void;
}

export interface TrainResult {
  readonly steps: number;
  /** Wall time of this process's part. */
  readonly seconds: number;
  /** True where the signal ended it early. */
  readonly stopped: boolean;
  readonly losses: readonly LossPoint[];
  readonly weights: ReadonlyMap<string, HostTensor>;
  readonly weightsFile: string;
}

/** What stays open while a run goes on. */
interface Session {
  readonly job: TrainingJob;
  readonly options: TrainOptions;
  readonly phases: Phases;
  readonly store: Store;
  readonly metrics: MetricsLog;
  readonly events: EventLog;
  readonly progress: Progress;
}

/** Minutes after which a checkpoint is saved where the job does not say. */
const usualMinutes = 10;

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
  const { done, cursor } = await begin(job, options, store);
  const resumeAt = options.resume ? { resumeAt: done } : {};
  const metrics = await openMetricsLog(metricsFile(folder), resumeAt);
  const events = await openEventLog(join(folder, "events"), resumeAt);
  const progress = startProgress({ description: "training", total: job.steps, start: done });
  const session = { job, options, phases, store, metrics, events, progress };
  const started = performance.now();
  try {
    const steps = await runSteps(session, done, cursor);
    const seconds = (performance.now() - started) / 1000;
    await metrics.flush();
    const weights = mergedWeights(await readWeights(job, store), job.step.adapters ?? []);
    for (const node of unusedParameters(job)) weights.set(inputName(node), await startingValue(job, node));
    const weightsFile = join(folder, "model.safetensors");
    const stopped = steps < job.steps;
    assertFiniteWeights(weights);
    if (!stopped)
      await writeSafetensors(
        weightsFile,
        [...weights].map(([n, t]) => tensorToWrite(n, t)),
      );
    return { steps, seconds, stopped, weights, weightsFile, losses: await readLosses(metricsFile(folder)) };
  } finally {
    progress.dispose();
    await Promise.allSettled([metrics.dispose(), events.dispose()]);
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

async function begin(
  job: TrainingJob,
  options: TrainOptions,
  store: Store,
): Promise<{ done: number; cursor: Json | undefined }> {
  if (!options.resume) {
    await writeInitialState(job, store);
    return { done: 0, cursor: undefined };
  }
  const loaded = await loadNewestCheckpoint(checkpointsFolder(options.folder), options.note);
  if (!loaded) {
    options.note("no checkpoint was saved yet: starting from the beginning");
    await writeInitialState(job, store);
    return { done: 0, cursor: undefined };
  }
  try {
    const { cursor, seed, ...saved } = loaded.state as { cursor: Json; seed: number } & Partial<SavedPrecision> & {
        optimizer?: string;
      };
    if (seed !== job.seed)
      throw new UsageError(`the run to resume has the seed ${seed}, the job ${job.seed}: use --set seed=${seed}`);
    requireSamePrecision(saved, savedPrecision(job.step));
    requireSameRule(saved.optimizer, job.step);
    await restoreState(job, store, loaded.groups, loaded.step, loaded.path);
    options.note(`resumed at step ${loaded.step} from ${loaded.path}`);
    return { done: loaded.step, cursor };
  } finally {
    await loaded.dispose();
  }
}

/** What a checkpoint keeps of a step's precision; one in f32 keeps nothing. */
interface SavedPrecision {
  readonly precision: string;
  /** "adapts", or the number that it is fixed at. */
  readonly lossScale: number | "adapts";
  /** What frozen weights are kept as. */
  readonly frozen: string;
}

const savedPrecision = ({ precision, lossScale, frozen, frozenAs }: CompiledStep): Partial<SavedPrecision> => ({
  ...(precision !== "f32" && { precision, lossScale: lossScale?.goodSteps ? "adapts" : (lossScale?.initial ?? 1) }),
  ...(frozenAs && frozen.length > 0 && { frozen: frozenAs.dtype }),
});

function requireSamePrecision(saved: Partial<SavedPrecision>, job: Partial<SavedPrecision>): void {
  const scaled = ({ precision = "f32", lossScale }: Partial<SavedPrecision>) =>
    lossScale === undefined
      ? precision
      : `${precision} with a loss scale ${lossScale === "adapts" ? "that adapts" : `of ${lossScale}`}`;
  const text = (of: Partial<SavedPrecision>) =>
    of.frozen === undefined ? scaled(of) : `${scaled(of)}, frozen weights in ${of.frozen}`;
  if (text(saved) === text(job)) return;
  throw new UsageError(
    `the run to resume computes in ${text(saved)}, the job in ${text(job)}: go on in the precision that it began in`,
  );
}

/** Checkpoints that name no rule are of AdamW, which was the only one. */
function requireSameRule(saved = "adamw", { rule }: CompiledStep): void {
  if (saved === rule.name) return;
  throw new UsageError(
    `the run to resume is trained with ${saved}, the job with ${rule.name}: go on with the rule that it began with`,
  );
}

async function runSteps(session: Session, first: number, from: Json | undefined): Promise<number> {
  const { job, options } = session;
  const betweenMs = 60_000 * (job.checkpointMinutes ?? usualMinutes);
  let savedAt = performance.now();
  let [step, cursor, saved] = [first, from, first];
  if (step >= job.steps) return step;
  let micro = 0;
  const saveLast = async () => {
    if (saved < step) await saveStep(session, step, cursor ?? null);
    saved = step;
    savedAt = performance.now();
  };
  const batches = told(job.batches(from, (t) => session.progress.note(t)));
  for await (const batch of savingFirst(batches, saveLast)) {
    const ended = await spanned("steps", `step ${step + 1}`, () => runBatch(session, { step, micro }, batch.feeds));
    micro = ended ? 0 : micro + 1;
    if (!ended) continue;
    step++;
    cursor = batch.next;
    const ends = step >= job.steps || options.signal?.aborted === true;
    const isTime = performance.now() - savedAt >= betweenMs;
    if (isTime || ends || step % job.checkpointEvery === 0) await saveLast();
    if (ends) break;
  }
  await saveLast();
  if (step < job.steps && !options.signal?.aborted) {
    throw new UsageError(`the data ended after step ${step} of ${job.steps}: a job's batches go on without end`);
  }
  return step;
}

/** The same batches; where they fail, the steps done before are saved first. */
async function* savingFirst(
  batches: AsyncIterable<TrainingBatch>,
  save: () => Promise<void>,
): AsyncGenerator<TrainingBatch> {
  try {
    yield* batches;
  } catch (error) {
    await save();
    throw error;
  }
}

const saveStep = (session: Session, step: number, cursor: Json): Promise<void> =>
  spanned("checkpoints", `save step ${step}`, () => save(session, step, cursor));

/** The same batches; the time that each took to come is told. */
async function* told(batches: AsyncIterable<TrainingBatch>): AsyncGenerator<TrainingBatch> {
  let begun = performance.now();
  for await (const batch of batches) {
    timeline()?.span("data", "batch", begun, performance.now());
    yield batch;
    begun = performance.now();
  }
}

/** Runs the next batch of a step, and tells the step's figures with its last one: true then. */
async function runBatch(session: Session, at: { step: number; micro: number }, feeds: Feeds): Promise<boolean> {
  const { job, phases, progress, store } = session;
  const begun = performance.now();
  const outputs = await phases.run(store, at, feeds);
  if (!outputs) return false;
  const { step } = at;
  const figures = scalars(outputs);
  assertFiniteFigures(job.step, step + 1, figures);
  if (figures.skipped === 1)
    progress.note(
      `step ${step + 1} is skipped: its gradient passes what f16 holds; the loss scale is now ${figures.loss_scale}`,
    );
  const shown = Object.fromEntries(Object.entries(figures).filter(([, x]) => Number.isFinite(x))); // a skipped step has no norm
  await session.metrics.append({ step: step + 1, ...shown, seconds: (performance.now() - begun) / 1000 });
  await session.events.scalars(step + 1, shown);
  progress.update(step + 1, { loss: figures.loss ?? 0 });
  return true;
}

const scalars = (outputs: Readonly<Record<string, HostTensor>>): Record<string, number> =>
  Object.fromEntries(Object.entries(outputs).flatMap(([k, t]) => (t.data.length === 1 ? [[k, t.data[0]!]] : [])));

async function save({ job, options, store, metrics, events }: Session, step: number, cursor: Json): Promise<void> {
  await metrics.flush();
  await events.flush();
  const groups = await checkpointGroups(job.step, store);
  await saveCheckpoint(
    checkpointsFolder(options.folder),
    { step, state: { cursor, seed: job.seed, optimizer: job.step.rule.name, ...savedPrecision(job.step) }, groups },
    { keep: 2 },
  );
}
