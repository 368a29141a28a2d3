/** Assigns rows to batches in a seeded order that can be resumed at any batch. */
import { UsageError } from "../compiler/index.ts";
import { groupPacker } from "./grouping.ts";
import type { Item } from "./items.ts";
import { seededRandom, shuffled } from "./random.ts";

/** The position in the data: batch `position` of `epoch` comes next. Plain numbers, for checkpoints. */
export interface Cursor {
  readonly seed: number;
  readonly epoch: number;
  readonly position: number;
}

/** The start of the data for a seed. */
export const firstBatch = (seed: number): Cursor => ({ seed, epoch: 0, position: 0 });

/** The rows of a batch, and substitutes for broken ones. */
export interface BatchRows {
  readonly rows: readonly Item[];
  readonly spares: Iterable<Item>;
  readonly at: Cursor;
  readonly next: Cursor;
}

/** Keys of the random streams; each purpose has its own, so that a change in one does not affect the others. */
export const streams = { order: 1, row: 2, spare: 3, view: 4, mixture: 5, bucket: 6 } as const;

/**
 * The batches of an epoch as row indices: every row at most once, no two rows of the same group in a batch, remaining
 * rows dropped. Depends only on its arguments.
 */
export function epochBatches(
  groups: readonly string[],
  size: number,
  seed: number,
  epoch: number,
): readonly (readonly number[])[] {
  const packer = groupPacker<number>(size, (row) => groups[row]!);
  const order = shuffled(groups.length, seededRandom(seed, streams.order, epoch));
  return [...order].flatMap((row) => packer.add(row));
}

/**
 * Endless batches of items that fit in memory (their images need not), epoch after epoch, from the cursor on.
 * UsageError when there are fewer groups than rows per batch.
 */
export async function* itemBatches(
  items: readonly Item[],
  size: number,
  from: Cursor,
): AsyncGenerator<BatchRows, void, undefined> {
  checkSize(size);
  const groups = items.map((item) => item.group);
  const distinct = new Set(groups).size;
  if (distinct < size) throw tooFewGroups(size, distinct);
  let at = from;
  while (true) {
    const batches = epochBatches(groups, size, at.seed, at.epoch);
    for (const rows of batches.slice(at.position)) {
      const next = { ...at, position: at.position + 1 };
      yield { rows: rows.map((row) => items[row]!), spares: standIns(items, at), at, next };
      at = next;
    }
    at = { ...at, epoch: at.epoch + 1, position: 0 };
  }
}

/** All items in an order specific to this batch; computed only if a row is broken. */
function* standIns(items: readonly Item[], { seed, epoch, position }: Cursor): Generator<Item, void, undefined> {
  const order = shuffled(items.length, seededRandom(seed, streams.spare, epoch, position));
  for (const index of order) yield items[index]!;
}

function checkSize(size: number): void {
  if (Number.isInteger(size) && size >= 1) return;
  throw new UsageError(`the batch size must be an integer of at least 1, got ${size}`);
}

const tooFewGroups = (size: number, distinct: number) =>
  new UsageError(
    `a batch of ${size} rows needs ${size} different groups, but the data has ${distinct}: use a batch of at most ${distinct}`,
  );
