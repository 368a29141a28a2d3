/**
 * The training loop: while the device computes a step, the next ones are prepared and the metrics of earlier ones are
 * read.
 */
import type { Store } from "../../backends/backend.ts";
import { spanned, timeline, UsageError } from "../../compiler/index.ts";
import { saveCheckpoint, saveTogether } from "../checkpoint/checkpoint.ts";
import type { Json } from "../checkpoint/state-file.ts";
import type { Ranks } from "../collectives/index.ts";
import type { Progress } from "../host/host.ts";
import { ahead } from "./ahead.ts";
import type { BestWeights } from "./best-weights.ts";
import type { FiguresLog } from "./figures-log.ts";
import { assertFiniteFigures } from "./finite.ts";
import { type Figures, type Landing, type Span, startFlight } from "./flight.ts";
import { type CheckIndices, indexChecks } from "./index-checks.ts";
import type { TrainingBatch, TrainingJob } from "./job.ts";
import { requireBatch } from "./job-rules.ts";
import type { IdleClock } from "./lost-time.ts";
import { randomFeeds } from "./random-feeds.ts";
import { type Beginning, keptCheckpoints, savedPrecision } from "./resume.ts";
import { checkpointsFolder } from "./run-folder.ts";
import type { AfterStep, Phases } from "./runs.ts";
import type { Share } from "./share.ts";
import { checkpointGroups, sharedGroups } from "./state.ts";
import { writeTold } from "./told-file.ts";
import type { TrainOptions } from "./train-options.ts";
import type { Validator } from "./validate.ts";

/** The resources of a run in progress. */
export interface Session {
  readonly job: TrainingJob;
  readonly options: TrainOptions;
  readonly phases: Phases;
  readonly store: Store;
  readonly log: FiguresLog;
  readonly progress: Progress;
  readonly clock: IdleClock;
  readonly best: BestWeights | undefined;
  readonly validator: Validator | undefined;
  /** The job's batches, or this rank's rows of them. */
  readonly batches: TrainingJob["batches"];
  readonly ranks: Ranks;
  /** This rank's part of each step, when several ranks share it. */
  readonly share: Share | undefined;
  /** Combines all ranks' requests after a step. */
  readonly agree: (asked: AfterStep) => Promise<AfterStep>;
}

/** Default minutes between checkpoints. */
const usualMinutes = 10;

/** Batches prefetched, so that one slow batch is made up for by the next. */
const batchesAhead = 2;

/** Runs that may be in flight while waiting for the next batch; metrics lag by as many runs. */
const runsUnderWay = 3;

/**
 * Runs steps until the job's last, or until the signal, and returns the last step and the data's cursor. Nothing is
 * saved before the metrics of all steps so far have been read and found finite.
 */
export async function runSteps(session: Session, { done, cursor: from }: Beginning): Promise<Place> {
  const { job, options, clock } = session;
  if (done >= job.steps) return { steps: done, cursor: from };
  if (await session.ranks.decide(() => options.signal?.aborted === true)) return { steps: done, cursor: from };
  const flight = startFlight(clock);
  const random = randomFeeds(job, session.share);
  const { count } = session.phases;
  const betweenMs = 60_000 * (job.checkpointMinutes ?? usualMinutes);
  let [step, cursor, saved, savedAt, stopped] = [done, from, done, performance.now(), false];
  const saveLast = async () => {
    await flight.leave(0);
    if (saved === step) return;
    clock.turnsTo("saving");
    await spanned("checkpoints", `save step ${step}`, () => save(session, step, cursor ?? null));
    [saved, savedAt] = [step, performance.now()];
    clock.turnsTo("readBack");
  };
  const given = told(session.batches(from, (t) => session.progress.note(t)));
  // When data fails on one rank, the others do not know of it, so no checkpoint can be saved to which all must
  // contribute.
  const saveAlone = async () => {
    if (job.step.accumulation?.shared?.shard === undefined) await saveLast();
  };
  const made = withRandom(checked(given, indexChecks(job), done, count), random.of, done * count);
  const batches = ahead(made, batchesAhead, (job.steps - done) * count);
  try {
    let micro = 0;
    for await (const { feeds, next } of waitedFor(savingFirst(batches, saveAlone), clock)) {
      const runs = session.phases.runs(session.store, micro, feeds);
      micro = (micro + 1) % count;
      const last = micro === 0 ? runs.at(-1) : undefined;
      for (const run of runs) {
        if (run === last) break;
        if (run.isAlone) await flight.leave(0);
        flight.add(run.start());
        await flight.leave(run.isAlone ? 0 : runsUnderWay);
      }
      if (!last) continue;
      flight.add(last.start(), recording(session, ++step));
      if (last.isAlone) await flight.leave(0);
      cursor = next;
      const asked = { stop: options.signal?.aborted === true, save: performance.now() - savedAt >= betweenMs };
      const { stop, save: isTime } = await session.agree(asked);
      stopped = stop;
      const ends = step >= job.steps || stop;
      if (isTime || ends || step % job.checkpointEvery === 0) await saveLast();
      else await flight.leave(session.validator?.isDue(step) ? 0 : runsUnderWay);
      if (ends) break;
    }
    await saveLast();
  } finally {
    await flight.settle();
    await random.dispose();
  }
  if (step < job.steps && !stopped) {
    throw new UsageError(`the data ended after step ${step} of ${job.steps}: a job's batches must not end`);
  }
  return { steps: step, cursor };
}

/** Steps completed, and where the data continues. */
interface Place {
  readonly steps: number;
  readonly cursor: Json | undefined;
}

/** The same batches, with a timeline span for each. */
async function* told(batches: AsyncIterable<TrainingBatch>): AsyncGenerator<TrainingBatch> {
  let begun = performance.now();
  for await (const batch of batches) {
    timeline()?.span("data", "batch", begun, performance.now());
    yield batch;
    begun = performance.now();
  }
}

/** The same batches, checked; `count` of them make a step. */
async function* checked(
  batches: AsyncIterable<TrainingBatch>,
  check: CheckIndices,
  done: number,
  count: number,
): AsyncGenerator<TrainingBatch> {
  let made = 0;
  for await (const batch of batches) {
    const step = done + 1 + Math.floor(made / count);
    if (made++ === 0) requireBatch(batch, step);
    check(batch, step);
    yield batch;
  }
}

/**
 * The same batches, with the step's random inputs added to the feeds; `first` is the run's index of the first
 * micro-batch.
 */
async function* withRandom(
  batches: AsyncIterable<TrainingBatch>,
  drawn: (index: number) => Promise<TrainingBatch["feeds"]>,
  first: number,
): AsyncGenerator<TrainingBatch> {
  let index = first;
  for await (const { feeds, next } of batches) yield { feeds: { ...feeds, ...(await drawn(index++)) }, next };
}

/** The same batches; on failure, the steps completed so far are saved first. */
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

/** The same batches; the clock counts the time spent waiting for them. */
async function* waitedFor(batches: AsyncIterable<TrainingBatch>, clock: IdleClock): AsyncGenerator<TrainingBatch> {
  clock.turnsTo("data");
  for await (const batch of batches) {
    clock.turnsTo("readBack");
    yield batch;
    clock.turnsTo("data");
  }
}

/** Checks and logs the metrics of a step, including its validation. With validation, no later step may be in flight. */
const recording =
  (session: Session, step: number): Landing =>
  async (figures: Figures, { begin, end }: Span) => {
    const { job, progress, log, validator, clock } = session;
    timeline()?.span("steps", `step ${step}`, begin, end);
    assertFiniteFigures(job.step, step, figures);
    if (figures.skipped === 1)
      progress.note(`step ${step} is skipped: its gradient overflows f16; the loss scale is now ${figures.loss_scale}`);
    let shown: Figures = Object.fromEntries(Object.entries(figures).filter(([, x]) => Number.isFinite(x))); // a skipped step has no norm
    if (validator?.isDue(step)) {
      clock.turnsTo("saving");
      shown = { ...shown, ...(await validator.figuresAt(step)) };
      clock.turnsTo("readBack");
    }
    await log.write({ step, ...shown, seconds: (end - begin) / 1000 }, shown);
    progress.update(step, { loss: figures.loss ?? 0 });
    session.options.onStep?.(step, shown);
  };

async function save({ job, options, store, log, best, ranks }: Session, step: number, cursor: Json) {
  await log.flush();
  const isSharded = job.step.accumulation?.shared?.shard !== undefined;
  if (!ranks.isFirst && !isSharded) return; // all ranks have the same state
  const state = {
    cursor,
    seed: job.seed,
    optimizer: job.step.rule.name,
    ...savedPrecision(job.step),
    ...(best?.now && { best: { ...best.now } }),
  };
  const [folder, keep] = [checkpointsFolder(options.folder), { keep: keptCheckpoints }];
  if (isSharded) {
    const content = { step, state, ...(await sharedGroups(job.step, store)) };
    await saveTogether(folder, content, { ...ranks.collectives, ...ranks }, keep);
  } else await saveCheckpoint(folder, { step, state, groups: await checkpointGroups(job.step, store) }, keep);
  if (!ranks.isFirst) return;
  await best?.checkpointed();
  await writeTold(options.folder, job.told?.(cursor));
}
