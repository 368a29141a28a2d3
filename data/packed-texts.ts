/** Texts as rows of ids without a gap: one text after the other, each followed by its end, cut where a row is full. */
import { FileError } from "../compiler/index.ts";
import { isRecord } from "./files.ts";
import type { OpenData } from "./open-data.ts";
import type { TextSample } from "./samples.ts";

/** Ids of a row; of data that is read once, the last may have fewer. */
export interface TextRow {
  readonly ids: readonly number[];
}

export interface Packing {
  /** Rows of a batch. */
  readonly rows: number;
  /** Ids of a row; the last of one is the first of the next, so that each is once what comes next. */
  readonly length: number;
  /** The ids of a text, without special tokens. */
  readonly encode: (text: string) => readonly number[];
  /** The id after each text. */
  readonly end: number;
}

/** Batches of rows, as `OpenData` gives batches of samples. */
export type PackedTexts = Pick<OpenData<"texts">, "report" | "sources" | "files" | "dispose"> & {
  /** A cursor also says how many ids of the next text are taken. */
  batches(cursor: unknown | undefined, note: (text: string) => void): AsyncIterable<PackedBatch>;
  once(note: (text: string) => void): AsyncIterable<Pick<PackedBatch, "samples">>;
};

interface PackedBatch {
  readonly samples: readonly TextRow[];
  readonly cursor: PackedCursor;
}

type PackedCursor = TextBatch["cursor"] & { readonly taken: number };
type TextBatch = OpenData<"texts"> extends { batches(...given: never[]): AsyncIterable<infer B> } ? B : never;

/** `opened` gives one text a batch. */
export function packedTexts(opened: OpenData<"texts">, { rows, length, encode, end }: Packing): PackedTexts {
  const idsOf = ({ text, ends }: TextSample): readonly number[] => [...encode(text), ...(ends ? [end] : [])];
  async function* batches(cursor: unknown | undefined, note: (text: string) => void) {
    let skipped: number | undefined;
    let held: number[] = [];
    let made: TextRow[] = [];
    let sinceRow = 0; // texts since a row was last full
    for await (const { samples, at } of opened.batches(cursor, note)) {
      skipped ??= isAt(at, cursor) ? takenOf(cursor) : 0;
      const ids = idsOf(samples[0]!);
      let taken = Math.min(skipped, ids.length);
      skipped -= taken;
      sinceRow = ids.length > taken ? 0 : sinceRow + 1;
      if (sinceRow > mostWithoutIds) throw new FileError("the data holds no text that has ids");
      while (taken < ids.length) {
        const own = Math.min(length - held.length, ids.length - taken);
        for (let i = 0; i < own; i += 1) held.push(ids[taken + i]!);
        taken += own;
        if (held.length < length) break;
        made.push({ ids: held });
        held = [held.at(-1)!];
        if (made.length < rows) continue;
        yield { samples: made, cursor: { ...at, taken: taken - 1 } }; // the last is taken again
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

/** So many texts in a row without an id are no accident. */
const mostWithoutIds = 100_000;

/** Whether data goes on where the cursor says; where files changed it goes on elsewhere. */
const isAt = ({ places }: PackedCursor | TextBatch["at"], cursor: unknown): boolean =>
  cursor === undefined || JSON.stringify(places) === JSON.stringify((cursor as PackedCursor).places);

function takenOf(cursor: unknown): number {
  if (cursor === undefined) return 0;
  const taken = isRecord(cursor) ? cursor.taken : undefined;
  if (Number.isSafeInteger(taken) && (taken as number) >= 0) return taken as number;
  throw new FileError(
    "the data of the checkpoint does not say where in a text to go on: it was saved by something else",
  );
}
