/** Text-only data: files, folders of them, records with a text, shards of texts. */
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { FileError } from "../../compiler/index.ts";
import { readExtent } from "../extents.ts";
import { orSystemFault, requirePath, requireWellFormed } from "../files.ts";
import { decodeUtf8 } from "../folders.ts";
import { parseRecord } from "../instructions.ts";
import type { RawSample } from "../samples.ts";
import type { openList } from "./list-parts.ts";
import type { openShard } from "./shard-parts.ts";
import type { Part } from "./source.ts";

/** Piece size: files are read in pieces, so that a long file is never in memory as a whole. */
const pieceBytes = 2 ** 16;
const newline = 10;

const isText = (name: string) => name.toLowerCase().endsWith(".txt");

/** The text files in a folder and its subfolders, in name order. */
export async function textFiles(folder: string): Promise<readonly string[]> {
  const names = await orSystemFault(readdir(folder, { recursive: true }), `folder of texts "${folder}"`);
  return names
    .filter(isText)
    .sort()
    .map((name) => join(folder, name));
}

/** A .txt file is one text, in pieces that end at line ends. */
export const openText = (path: string, language: string): Promise<Part> => openPieces([path], language);

export const openTexts = async (folder: string, language: string): Promise<Part> =>
  await openPieces(await textFiles(folder), language);

async function openPieces(paths: readonly string[], language: string): Promise<Part> {
  const pieces: { readonly path: string; readonly from: number; readonly of: number }[] = [];
  for (const path of paths) {
    await requirePath(path, "file", "text");
    const { size } = await stat(path);
    for (let from = 0; from < size; from += pieceBytes) pieces.push({ path, from, of: size });
  }
  const name = (index: number) => {
    const { path, from, of } = pieces[index]!;
    return of <= pieceBytes ? path : `${path} from byte ${from}`;
  };
  return {
    count: pieces.length,
    name,
    read: async (index) => {
      const { path, from, of } = pieces[index]!;
      const file = await orSystemFault(open(path), `text "${path}"`);
      try {
        const [start, end] = [await lineFrom(file, from, of), await lineFrom(file, from + pieceBytes, of)];
        const text = decodeUtf8(await readExtent(file, { offset: start, size: end - start }), path);
        return { ...textSample(name(index), text, language), ends: end === of && end > start };
      } finally {
        await file.close();
      }
    },
  };
}

/** The first line start at or after `at`; in a line longer than a piece, the next character boundary. */
async function lineFrom(file: Awaited<ReturnType<typeof open>>, at: number, size: number): Promise<number> {
  if (at === 0 || at >= size) return Math.min(at, size);
  const before = at - 1;
  const bytes = await readExtent(file, { offset: before, size: Math.min(pieceBytes, size - before) });
  const found = bytes.indexOf(newline);
  if (found >= 0) return before + found + 1;
  const next = bytes.findIndex((byte, i) => i > 0 && (byte & 0xc0) !== 0x80); // 10xxxxxx continues a character
  return next < 0 ? size : before + next;
}

const textSample = (name: string, text: string, language: string): RawSample => ({
  ...{ name, group: name, fields: {} },
  texts: { [language]: [text] },
});

function textOf(record: Readonly<Record<string, unknown>>): string {
  const { text } = record;
  if (typeof text !== "string" || text === "") throw new FileError('it has no "text"');
  requireWellFormed(text);
  return text;
}

/** `{ "text" }`: each record is one text. */
export const textOfRecord: Parameters<typeof openList>[1] = (entry, { name, language }) => ({
  ...textSample(name, textOf(entry), language),
  fields: entry,
});

/** Shards of texts: .txt, or `text` of the .json. */
export const textOfShard: Parameters<typeof openShard>[1] = async (sample, name, { language }) => {
  if (sample.faults.length > 0) throw new FileError(sample.faults.join("; "));
  const [text, json] = [sample.files.get(".txt"), sample.files.get(".json")];
  if (text) return textSample(name, decodeUtf8(text, ".txt"), language);
  if (!json) throw new FileError("it has no text (.txt or .json)");
  return textSample(name, textOf(parseRecord(decodeUtf8(json, ".json"))), language);
};
