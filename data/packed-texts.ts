/** Sequence packing: texts concatenated, each followed by its end token, and split into rows of fixed length. */
import { FileError } from "../compiler/index.ts";
import { isRecord } from "./files.ts";
import type { OpenData } from "./open-data.ts";
import type { TextSample } from "./samples.ts";

/** The ids of a row; when data is read once, the last row may be shorter. */
export interface TextRow {
  readonly ids: readonly number[];
}

export interface Packing {
  /** Rows per batch. */
  readonly rows: number;
  /** Ids per row; a row's last id is the next row's first, so that each id is a target once. */
  readonly length: number;
  /** The ids of a text, without special tokens. */
  readonly encode: (text: string) => readonly number[];
  /** The id appended to each text. */
  readonly end: number;
}

/** Batches of rows, with the interface of `OpenData`. */
export type PackedTexts = Pick<OpenData<"texts">, "report" | "sources" | "files" | "dispose"> & {
  /** The cursor also contains the number of ids already taken from the next text. */
  batches(cursor: unknown | undefined, note: (text: string) => void): AsyncIterable<PackedBatch>;
  once(note: (text: string) => void): AsyncIterable<Pick<PackedBatch, "samples">>;
};

interface PackedBatch {
  readonly samples: readonly TextRow[];
  readonly cursor: PackedCursor;
}

type PackedCursor = TextBatch["cursor"] & { readonly taken: number };
type TextBatch = OpenData<"texts"> extends { batches(...given: never[]): AsyncIterable<infer B> } ? B : never;

/** `opened` must yield one text per batch. */
export function packedTexts(opened: OpenData<"texts">, { rows, length, encode, end }: Packing): PackedTexts {
  const idsOf = ({ text, ends }: TextSample): readonly number[] => [...encode(text), ...(ends ? [end] : [])];
  async function* batches(cursor: unknown | undefined, note: (text: string) => void) {
    let skipped: number | undefined;
    let held: number[] = [];
    let made: TextRow[] = [];
    let sinceRow = 0; // texts without ids since the last row was filled
    for await (const { samples, at } of opened.batches(cursor, note)) {
      skipped ??= isAt(at, cursor) ? takenOf(cursor) : 0;
      const ids = idsOf(samples[0]!);
      let taken = Math.min(skipped, ids.length);
      skipped -= taken;
      sinceRow = ids.length > taken ? 0 : sinceRow + 1;
      if (sinceRow > mostWithoutIds) throw new FileError("the data has no text with tokens");
      while (taken < ids.length) {
        const own = Math.min(length - held.length, ids.length - taken);
        for (let i = 0; i < own; i += 1) held.push(ids[taken + i]!);
        taken += own;
        if (held.length < length) break;
        made.push({ ids: held });
        held = [held.at(-1)!];
        if (made.length < rows) continue;
        yield { samples: made, cursor: { ...at, taken: taken - 1 } }; // the last id is taken again
        made = [];
      }
    }
  }
  async function* once(note: (text: string) => void) {
    let held: number[] = [];
    let made: TextRow[] = [];
    for await (const { samples } of opened.once(note)) {
      for (const sample of samples) {
        for (const id of idsOf(sample)) {
          held.push(id);
          if (held.length < length) continue;
          made.push({ ids: held });
          held = [id];
          if (made.length < rows) continue;
          yield { samples: made };
          made = [];
        }
      }
    }
    if (held.length > 1) made.push({ ids: held });
    if (made.length > 0) yield { samples: made };
  }
  const { report, sources, files, dispose } = opened;
  return { report, sources, files, dispose, batches, once };
}

/** This many texts in a row without an id are not an accident. */
const mostWithoutIds = 100_000;

/** Whether the data continues where the cursor says; it does not if files have changed. */
const isAt = ({ places }: PackedCursor | TextBatch["at"], cursor: unknown): boolean =>
  cursor === undefined || JSON.stringify(places) === JSON.stringify((cursor as PackedCursor).places);

function takenOf(cursor: unknown): number {
  if (cursor === undefined) return 0;
  const taken = isRecord(cursor) ? cursor.taken : undefined;
  if (Number.isSafeInteger(taken) && (taken as number) >= 0) return taken as number;
  throw new FileError(
    "the checkpoint does not say where in a text the data continues: it was saved by another program",
  );
}
