/** What happens to a job's batches on their way to the device. */
import { timeline } from "../../compiler/index.ts";
import { ahead } from "./ahead.ts";
import { type CheckIndices, indexChecks } from "./index-checks.ts";
import type { TrainingBatch, TrainingJob } from "./job.ts";
import { requireBatch } from "./job-rules.ts";
import type { IdleClock } from "./lost-time.ts";
import type { RandomFeeds } from "./random-feeds.ts";

/** Batches prefetched, so that one slow batch is made up for by the next. */
const batchesAhead = 2;

export interface Preparation {
  readonly job: TrainingJob;
  /** Steps done before. */
  readonly done: number;
  /** Micro-batches in a step. */
  readonly count: number;
  readonly random: RandomFeeds;
  readonly clock: IdleClock;
  /** Called when the data fails, before the error is thrown. */
  readonly onFailure: () => Promise<void>;
}

/** The same batches, checked, with random inputs, and made ahead of time. */
export function preparedBatches(
  batches: AsyncIterable<TrainingBatch>,
  { job, done, count, random, clock, onFailure }: Preparation,
): AsyncGenerator<TrainingBatch> {
  const given = checked(told(batches), indexChecks(job), done, count);
  const made = ahead(withRandom(given, random.of, done * count), batchesAhead, (job.steps - done) * count);
  return waitedFor(savingFirst(made, onFailure), clock);
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
