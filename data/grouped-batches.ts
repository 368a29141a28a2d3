/** Batches without two rows of the same group, from an endless mixture, starting at any cursor. */
import { FileError } from "../compiler/index.ts";
import { isRecord } from "./files.ts";
import { type MixtureOptions, type MixturePlace, mixture, type Row, readRow } from "./mixture.ts";
import { type SampleRef, type SampleStream, streamStart } from "./sample-stream.ts";

/** Where batches continue. Rows waiting for a batch without their group are stored by reference. */
export interface CursorState extends MixturePlace {
  readonly waiting: readonly SampleRef[];
  /** The number of finished batches of a pool, with length bucketing. */
  readonly done?: number;
}

export const startOf = (sources: number): CursorState => ({
  drawn: 0,
  places: Array.from({ length: sources }, () => streamStart),
  waiting: [],
});

const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;

/** Whether a value from a file is a valid cursor. */
export function isCursorState(value: unknown): value is CursorState {
  if (!isRecord(value) || !isCount(value.drawn) || !Array.isArray(value.places) || !Array.isArray(value.waiting)) {
    return false;
  }
  const sources = value.places.length;
  if (value.done !== undefined && !isCount(value.done)) return false;
  return (
    value.places.every((place) => isRecord(place) && [place.epoch, place.window, place.at].every(isCount)) &&
    value.waiting.every((ref) => Array.isArray(ref) && ref.length === 4 && ref.every(isCount) && ref[0] < sources)
  );
}

export interface BatchesOptions extends MixtureOptions {
  readonly batch: number;
}

/**
 * Endless batches. A row whose group is already in the batch waits for the next one; when a whole batch of rows is
 * waiting, further ones are dropped and reported to `onSkip`. FileError when the data has fewer groups than a batch has
 * rows.
 */
export async function* groupedBatches(sources: readonly SampleStream[], from: CursorState, options: BatchesOptions) {
  let waiting = await waitingRows(sources, from.waiting, options);
  let batch = new Map<string, Row>();
  let filledIn = epochsOf(from); // the epochs in which a row was last accepted
  const refill = () => {
    batch = new Map();
    const left: Row[] = [];
    for (const row of waiting) {
      if (batch.size < options.batch && !batch.has(row.raw.group)) batch.set(row.raw.group, row);
      else left.push(row);
    }
    waiting = left;
  };
  refill();
  let place: MixturePlace = from;
  const complete = () => ({
    rows: [...batch.values()],
    next: { drawn: place.drawn, places: place.places, waiting: waiting.map(({ ref }) => ref) },
  });
  while (batch.size === options.batch) {
    yield complete();
    refill();
  }
  for await (const { row, next } of mixture(sources, from, options)) {
    place = next;
    if (!batch.has(row.raw.group)) {
      batch.set(row.raw.group, row);
      filledIn = epochsOf(next);
    } else if (waiting.length < options.batch) waiting.push(row);
    else leaveOut(row, options);
    if (epochsOf(next).every((epoch, i) => epoch > filledIn[i]! + 1)) throw tooFewGroups(batch.size, options.batch);
    while (batch.size === options.batch) {
      yield complete();
      refill();
    }
  }
}

const epochsOf = ({ places }: MixturePlace) => places.map(({ epoch }) => epoch);

/** The rows that were waiting when a checkpoint was saved. */
async function waitingRows(
  sources: readonly SampleStream[],
  refs: readonly SampleRef[],
  options: BatchesOptions,
): Promise<Row[]> {
  const { render: _, ...unrendered } = options;
  const how = options.sharing ? unrendered : options;
  const rows = await Promise.all(refs.map(async (ref) => readRow(await sources[ref[0]]!.again(ref), how)));
  return rows.filter((row) => "raw" in row);
}

const leaveOut = ({ raw }: Row, { onSkip }: BatchesOptions) =>
  onSkip({ name: raw.name, reason: "its group has more samples than there are batches" });

const tooFewGroups = (found: number, size: number) =>
  new FileError(
    `a batch of ${size} rows needs ${size} different groups, but the data has ${found}: use a batch of at most ${found}`,
  );
