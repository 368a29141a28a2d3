/** Which rows make which batch: a seeded order that any run can take up again at any batch. */
import { UsageError } from "../compiler/index.ts";
import { groupPacker } from "./grouping.ts";
import type { Item } from "./items.ts";
import { seededRandom, shuffled } from "./random.ts";

/** Where a run is in its data: batch `position` of `epoch` is the next to come. Plain numbers, so that a checkpoint can hold it. */
export interface Cursor {
  readonly seed: number;
  readonly epoch: number;
  readonly position: number;
}

/** The beginning of the data for a seed. */
export const firstBatch = (seed: number): Cursor => ({ seed, epoch: 0, position: 0 });

/** Rows chosen for one batch, and others that may stand in for a broken one. */
export interface BatchRows {
  readonly rows: readonly Item[];
  readonly spares: Iterable<Item>;
  readonly at: Cursor;
  readonly next: Cursor;
}

/** Keys of the random streams; each purpose has its own, so that a change in one leaves the others as they were. */
export const streams = { order: 1, row: 2, spare: 3, view: 4, mixture: 5, bucket: 6 } as const;

/**
 * The batches of one epoch as row indices: every row at most once, no two of a batch of one group, the rest dropped.
 * Depends on nothing but its arguments.
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
 * Endless batches of items that fit in memory (their pictures need not), epoch after epoch, from the cursor on.
 * UsageError when there are fewer groups than rows in a batch.
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

/** All items in an order of this batch's own; drawn up only when a row is broken. */
function* standIns(items: readonly Item[], { seed, epoch, position }: Cursor): Generator<Item, void, undefined> {
  const order = shuffled(items.length, seededRandom(seed, streams.spare, epoch, position));
  for (const index of order) yield items[index]!;
}

function checkSize(size: number): void {
  if (Number.isInteger(size) && size >= 1) return;
  throw new UsageError(`a batch needs a whole number of rows, at least 1; it was given ${size}`);
}

const tooFewGroups = (size: number, distinct: number) =>
  new UsageError(
    `a batch of ${size} rows needs ${size} different groups, the data has ${distinct}: use a batch of at most ${distinct}`,
  );
