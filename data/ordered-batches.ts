/** Every sample once, in stored order, in batches without two rows of the same group. */
import { prefetch } from "./concurrency.ts";
import type { BatchesOptions } from "./grouped-batches.ts";
import { type Row, readRow } from "./mixture.ts";
import type { SampleStream } from "./sample-stream.ts";

/**
 * Batches of `batch` rows as long as possible; the last ones may be smaller. A single leftover row joins the batch
 * before it, for losses that compare rows.
 */
export async function* orderedBatches(
  sources: readonly SampleStream[],
  options: BatchesOptions,
): AsyncGenerator<readonly Row[], void, undefined> {
  let held: readonly Row[] | undefined;
  for await (const rows of grouped(sources, options)) {
    if (rows.length === 1 && options.batch > 1 && held && !held.some(({ raw }) => raw.group === rows[0]!.raw.group)) {
      held = [...held, ...rows];
      continue;
    }
    if (held) yield held;
    held = rows;
  }
  if (held) yield held;
}

async function* grouped(sources: readonly SampleStream[], options: BatchesOptions) {
  let batch = new Map<string, Row>();
  let waiting: Row[] = [];
  const take = (row: Row) => {
    if (batch.size < options.batch && !batch.has(row.raw.group)) batch.set(row.raw.group, row);
    else waiting.push(row);
  };
  const filled = () => {
    const rows = [...batch.values()];
    const rest = waiting;
    [batch, waiting] = [new Map(), []];
    for (const row of rest) take(row);
    return rows;
  };
  for await (const reading of prefetch(started(sources, options), options.ahead)) {
    const row = await reading.row;
    if ("raw" in row) take(row);
    else options.onSkip(row);
    while (batch.size === options.batch) yield filled();
  }
  while (batch.size > 0) yield filled();
}

/** Starts reading each sample when it is requested, without waiting. */
async function* started(sources: readonly SampleStream[], options: BatchesOptions) {
  for (const stream of sources) {
    for await (const upcoming of stream.inOrder()) {
      const row = readRow(upcoming, options);
      row.catch(() => {}); // reported in its turn
      yield { row };
    }
  }
}
