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
import type { BestWeights } from "./best-weights.ts";
import type { FiguresLog } from "./figures-log.ts";
import { assertFiniteFigures } from "./finite.ts";
import { type Figures, type Flight, type Landing, type Span, startFlight } from "./flight.ts";
import type { TrainingJob } from "./job.ts";
import type { IdleClock } from "./lost-time.ts";
import { preparedBatches } from "./prepared-batches.ts";
import { type RandomFeeds, randomFeeds } from "./random-feeds.ts";
import { type Beginning, keptCheckpoints, savedPrecision } from "./resume.ts";
import { checkpointsFolder } from "./run-folder.ts";
import type { AfterStep, Phases, Run } from "./runs.ts";
import type { Share } from "./share.ts";
import { checkpointGroups, sharedGroups } from "./state.ts";
import { writeTold } from "./told-file.ts";
import type { TrainOptions } from "./train-options.ts";
import { untilAborted } from "./until-aborted.ts";
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

/** Runs that may be in flight while waiting for the next batch; metrics lag by as many runs. */
const runsUnderWay = 3;

/**
 * Runs steps until the job's last, or until the signal, and returns the last step and the data's cursor. Nothing is
 * saved before the metrics of all steps so far have been read and found finite.
 */
export async function runSteps(session: Session, { done, cursor }: Beginning): Promise<Place> {
  const { job, options, ranks } = session;
  const from: Place = { steps: done, cursor };
  if (done >= job.steps) return from;
  if (await ranks.decide(() => options.signal?.aborted === true)) return from;
  const loop = new StepLoop(session, from);
  const random = randomFeeds(job, session.share);
  try {
    await loop.run(random);
  } finally {
    await loop.settle();
    await random.dispose();
  }
  if (loop.place.steps < job.steps && !loop.isStopped)
    throw new UsageError(`the data ended after step ${loop.place.steps} of ${job.steps}: a job's batches must not end`);
  return loop.place;
}

/** Steps in progress, and what is saved of them. */
class StepLoop {
  readonly #session: Session;
  readonly #flight: Flight;
  readonly #betweenMs: number;
  #place: Place;
  #saved: number;
  #savedAt = performance.now();
  #isStopped = false;

  constructor(session: Session, from: Place) {
    this.#session = session;
    this.#flight = startFlight(session.clock);
    this.#betweenMs = 60_000 * (session.job.checkpointMinutes ?? usualMinutes);
    this.#place = from;
    this.#saved = from.steps;
  }

  get place(): Place {
    return this.#place;
  }

  /** Whether a signal ended the loop before the job's last step. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Waits for the runs in flight, whether they succeed or fail. */
  settle(): Promise<void> {
    return this.#flight.settle();
  }

  async run(random: RandomFeeds): Promise<void> {
    const { job, options, clock, phases, store, progress, batches, share } = this.#session;
    const { steps: done, cursor } = this.#place;
    const { count } = phases;
    const all = batches(cursor, (text) => progress.note(text));
    const signal = share ? undefined : options.signal; // ranks stop together, after a step
    const given = signal ? untilAborted(all, signal) : all;
    const preparation = { job, done, count, random, clock, onFailure: () => this.#saveAlone() };
    let micro = 0;
    for await (const { feeds, next } of preparedBatches(given, preparation)) {
      const runs = phases.runs(store, micro, feeds);
      micro = (micro + 1) % count;
      const last = micro === 0 ? runs.at(-1) : undefined;
      for (const run of last ? runs.slice(0, -1) : runs) await this.#start(run);
      if (last && (await this.#endStep(last, next))) break;
    }
    if (signal?.aborted && this.#place.steps < job.steps) this.#isStopped = true;
    await this.#saveLast();
  }

  async #start(run: Run): Promise<void> {
    if (run.isAlone) await this.#flight.leave(0);
    this.#flight.add(run.start());
    await this.#flight.leave(run.isAlone ? 0 : runsUnderWay);
  }

  /** Starts the last run of a step, and saves when it is time; resolves to whether the loop ends. */
  async #endStep(last: Run, cursor: Json): Promise<boolean> {
    const { job, options, agree, validator } = this.#session;
    const step = this.#place.steps + 1;
    this.#flight.add(last.start(), recording(this.#session, step));
    if (last.isAlone) await this.#flight.leave(0);
    this.#place = { steps: step, cursor };
    const isDue = performance.now() - this.#savedAt >= this.#betweenMs;
    const { stop, save } = await agree({ stop: options.signal?.aborted === true, save: isDue });
    this.#isStopped = stop;
    const ends = step >= job.steps || stop;
    if (save || ends || step % job.checkpointEvery === 0) await this.#saveLast();
    else await this.#flight.leave(validator?.isDue(step) ? 0 : runsUnderWay);
    return ends;
  }

  /** Saves the last step, once all metrics so far are read. */
  async #saveLast(): Promise<void> {
    const { clock } = this.#session;
    const { steps, cursor } = this.#place;
    await this.#flight.leave(0);
    if (this.#saved === steps) return;
    clock.turnsTo("saving");
    await spanned("checkpoints", `save step ${steps}`, () => save(this.#session, steps, cursor ?? null));
    [this.#saved, this.#savedAt] = [steps, performance.now()];
    clock.turnsTo("readBack");
  }

  /**
   * When data fails on one rank, the others do not know of it, so no checkpoint can be saved to which all must
   * contribute.
   */
  async #saveAlone(): Promise<void> {
    if (this.#session.job.step.accumulation?.shared?.shard === undefined) await this.#saveLast();
  }
}

/** Steps completed, and where the data continues. */
interface Place {
  readonly steps: number;
  readonly cursor: Json | undefined;
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
