/** Length bucketing: batches of rows of similar length, to reduce padding. */
import { FileError } from "../compiler/index.ts";
import { orSkip } from "./files.ts";
import type { BatchesOptions, CursorState } from "./grouped-batches.ts";
import { type MixturePlace, mixture, type Row, renderJob } from "./mixture.ts";
import { streams } from "./order.ts";
import { seededRandom, shuffled } from "./random.ts";
import type { SampleStream } from "./sample-stream.ts";

export interface BucketOptions extends BatchesOptions {
  readonly wordsOf: (row: Row) => number;
}

/** Batches sorted by length together: more reduce padding further, but delay the first batch. */
const pooledBatches = 16;

/**
 * Endless batches: the rows of 16 batches are sorted by length and split into batches, which are yielded in random
 * order. Images are rendered once a batch's rows are known; a row with a broken image is replaced by a duplicate of the
 * row nearest in length. A cursor holds the pool and how many of its batches are done: resuming reads the pool's rows
 * again, but not their images.
 */
export async function* bucketedBatches(sources: readonly SampleStream[], from: CursorState, options: BucketOptions) {
  const { render: _, ...unrendered } = options;
  let done = from.done ?? 0;
  let pool: Row[] = [];
  let begun: MixturePlace = from;
  for await (const { row, next } of mixture(sources, from, { ...unrendered, ahead: pooledBatches * options.batch })) {
    pool.push(row);
    if (pool.length < pooledBatches * options.batch) continue;
    const byLength = sortedByLength(pool, options.wordsOf);
    const order = shuffled(pooledBatches, seededRandom(options.seed, streams.bucket, begun.drawn));
    for (; done < pooledBatches; done += 1) {
      const isLast = done + 1 === pooledBatches;
      const place: MixturePlace & { done?: number } = isLast ? next : { ...begun, done: done + 1 };
      yield { rows: await rendered(byLength, order[done]! * options.batch, options), next: { ...place, waiting: [] } };
    }
    pool = [];
    done = 0;
    begun = next;
  }
}

/** Rows of equal length keep their drawing order, so that the result is deterministic. */
const sortedByLength = (pool: readonly Row[], wordsOf: (row: Row) => number): readonly Row[] =>
  pool
    .map((row) => ({ row, words: wordsOf(row) }))
    .sort((a, b) => a.words - b.words)
    .map(({ row }) => row);

/**
 * The batch of rows from `first` on, with their images; a row whose image is broken is replaced by the nearest row with
 * a readable one.
 */
async function rendered(pool: readonly Row[], first: number, options: BucketOptions): Promise<readonly Row[]> {
  const rows = pool.slice(first, first + options.batch);
  const tried = await Promise.all(rows.map((row) => withPicture(row, options)));
  for (const [i, found] of tried.entries()) if (!found) tried[i] = await standIn(pool, first + i, options);
  return tried as readonly Row[];
}

async function standIn(pool: readonly Row[], index: number, options: BucketOptions): Promise<Row> {
  for (let away = 1; away < pool.length; away += 1) {
    for (const candidate of [pool[index + away], pool[index - away]]) {
      const found = candidate && (await withPicture(candidate, options));
      if (found) return found;
    }
  }
  throw new FileError(
    `none of ${pool.length} consecutive images can be read: check that their folder is the right one`,
  );
}

async function withPicture(row: Row, { seed, onSkip, render }: BucketOptions): Promise<Row | undefined> {
  const job = renderJob(row.raw, row.ref, seed);
  if (!job || !render) return row;
  const found = await orSkip(render(job), row.raw.name, onSkip);
  return found && { ...row, rendered: found };
}
