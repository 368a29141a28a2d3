/** The position in a run's data, as stored in checkpoints, and a check that the data is unchanged. */
import { FileError } from "../compiler/index.ts";
import { type CursorState, isCursorState } from "./grouped-batches.ts";
import { isListing, type ListedFile, type Listing, listingChange } from "./listing.ts";
import type { StreamPlace } from "./sample-stream.ts";
import type { SkipsSoFar } from "./skips.ts";

/** The position from which `batches` continues: plain JSON, opaque outside this package. */
export interface DataCursor extends CursorState {
  /** The data specs it belongs to. */
  readonly specs: readonly string[];
  readonly seed: number;
  /** The data's files when it was opened. */
  readonly listing: Listing;
  /** What was skipped since the beginning of the run. */
  readonly skipped: SkipsSoFar;
}

/** A cursor read from a checkpoint; old ones have no listing. */
type GivenCursor = CursorState & Partial<DataCursor>;

/** What to do when files have changed. */
export type OnChange = "refuse" | "next epoch";

const isOfData = ({ seed, specs }: GivenCursor): boolean =>
  Number.isSafeInteger(seed) && Array.isArray(specs) && specs.every((spec) => typeof spec === "string");

/** Throws FileError for a cursor of other data. */
export function checkedCursor(cursor: unknown, specs: readonly string[], seed: number): GivenCursor {
  const given = isCursorState(cursor) ? (cursor as GivenCursor) : undefined;
  if (!given || !isOfData(given)) {
    throw new FileError("the checkpoint does not say where the data continues: it was saved by another program");
  }
  if (JSON.stringify(given.specs) !== JSON.stringify(specs) || given.places.length !== specs.length) {
    const [was, is] = [given.specs!, specs].map((list) => list.join(" "));
    throw new FileError(
      `the checkpoint was saved while training on ${was}, not on ${is}: give the same data in the same order`,
    );
  }
  if (given.seed !== seed) {
    throw new FileError(`the checkpoint's data was shuffled with seed ${given.seed}, not ${seed}: give the same seed`);
  }
  return given;
}

/**
 * Where batches continue: at the cursor's position, or, if files have changed and that is allowed, at the next epoch.
 */
export function placeIn(
  { drawn, places, waiting, done, listing }: GivenCursor,
  files: readonly ListedFile[],
  onChange: OnChange,
  note: (text: string) => void,
): CursorState {
  if (filesAre("data", listing, files, onChange, note))
    return { drawn, places, waiting, ...(done === undefined ? {} : { done }) };
  const next = places.map(({ epoch }): StreamPlace => ({ epoch: epoch + 1, window: 0, at: 0 }));
  return { drawn, places: next, waiting: [] };
}

/**
 * Whether files equal those listed in a checkpoint. If not, throws FileError naming the first differences, unless
 * `onChange` allows it; then they are reported to `note`.
 */
export function filesAre(
  what: string,
  listing: unknown,
  files: readonly ListedFile[],
  onChange: OnChange,
  note: (text: string) => void,
): boolean {
  if (listing === undefined) {
    note(`the checkpoint does not list the files of the ${what}: changes to them cannot be detected`);
    return true;
  }
  if (!isListing(listing)) throw new FileError(`the checkpoint's list of files of the ${what} is damaged`);
  const change = listingChange(listing, files);
  if (change === undefined) return true;
  if (onChange === "refuse")
    throw new FileError(
      `the ${what} changed since the checkpoint was saved: ${change}\n  hint: restore the files, start a new run (without --resume, or in another folder), or continue with the current files from the next epoch (--changed-data)`,
    );
  note(`the ${what} changed since the checkpoint was saved: ${change}; continuing with the current files`);
  return false;
}
