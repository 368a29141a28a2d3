/**
 * Lists: a .json (one array) or a .jsonl (one record per line) of pairs or conversations, whose images are in a folder.
 */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { FileError, shown } from "../../compiler/index.ts";
import { readExtent } from "../extents.ts";
import { insideFolder, isInvisible, type OnSkip, orSystemFault, requirePath, requireWellFormed } from "../files.ts";
import { decodeUtf8 } from "../folders.ts";
import { instructionOf, parseRecord, requirePlaces } from "../instructions.ts";
import { jsonElements } from "../json-elements.ts";
import type { RawSample } from "../samples.ts";
import { captionedEntries } from "./captioned-entries.ts";
import type { CaptionedEntry } from "./coco-captions.ts";
import type { Part } from "./source.ts";

type Entry = Readonly<Record<string, unknown>>;

/** Converts a record of a list to a sample. */
export type Reading = (entry: Entry, place: Place) => RawSample | Promise<RawSample>;

interface Place {
  /** The record's name in messages. */
  readonly name: string;
  readonly index: number;
  readonly images: string;
  readonly language: string;
  readonly pictured?: boolean;
}

/**
 * `{ "image", "caption" }`; `text`, `captions` and `texts` are also accepted. Records with the same image form a group.
 */
export const pairOfRecord: Reading = (entry, { name, images, language }) => {
  const image = pictureOf(entry.image, images);
  const said = entry.caption ?? entry.text ?? entry.captions ?? entry.texts;
  const texts = (Array.isArray(said) ? said : [said]).flatMap((text) =>
    typeof text === "string" && !isInvisible(text) ? [text.trim()] : [],
  );
  if (texts.length === 0)
    throw new FileError(isNumber(said) ? `its caption ${said} is no text` : 'it has no "caption"');
  texts.forEach(requireWellFormed);
  const spoken = typeof entry.language === "string" && entry.language !== "" ? entry.language : language;
  return { name, group: image, image, texts: { [spoken]: texts }, fields: entry };
};

const isNumber = (said: unknown): boolean => typeof said === "number" || typeof said === "boolean";

/** LLaVA's `{ "id", "image", "conversations": [{ "from", "value" }] }`. */
export const conversationOfRecord: Reading = (entry, { name, index, images }) => {
  const { id, turns, image } = instructionOf(entry, index, images);
  requirePlaces(turns, image !== undefined);
  return { name, group: name, id, turns, fields: entry, ...(image === undefined ? {} : { image }) };
};

export function pictureOf(image: unknown, folder: string): string {
  if (image === undefined) throw new FileError('it has no "image"');
  const path = typeof image === "string" ? insideFolder(folder, image) : undefined;
  if (path !== undefined) return path;
  throw new FileError(`its image ${shown(image)} is not a path inside the image folder`);
}

export interface ListOptions {
  readonly images: string;
  readonly language: string;
  readonly pictured?: boolean;
  /** Whether the records of a .jsonl are named by their lines, from 1, instead of by their number, from 0. */
  readonly byLine?: boolean;
  /** Whether a .json may have the form of COCO's captions, or Karpathy's with splits. */
  readonly captions?: boolean;
  readonly splits?: readonly string[];
}

/** Opens a list: one pass finds the records' locations; records are read on demand. */
export async function openList(path: string, reading: Reading, options: ListOptions, onSkip: OnSkip): Promise<Part> {
  await requirePath(path, "file", "list");
  await requirePath(options.images, "folder", "image folder");
  const isLines = path.toLowerCase().endsWith(".jsonl");
  const captioned = options.captions && !isLines ? await captionedEntries(path, options.splits, onSkip) : undefined;
  if (captioned) return partOf(captioned, reading, options);
  if (options.splits)
    throw new FileError(
      `list "${path}" has no splits: leave out "#${options.splits}"; only pairs in Karpathy's form have them`,
    );
  const lines: number[] | undefined = isLines && options.byLine ? [] : undefined;
  const places = await (isLines ? linePlaces(path, lines) : elementPlaces(path, onSkip));
  const name = (index: number) => (lines ? `${path}:${lines[index]}` : `${path}[${index}]`);
  return {
    count: places.length / 2,
    name,
    read: async (index) => {
      const file = await orSystemFault(open(path), `list "${path}"`);
      try {
        const [offset, end] = [places[2 * index]!, places[2 * index + 1]!];
        const text = decodeUtf8(await readExtent(file, { offset, size: end - offset }), path);
        return await reading(parseRecord(text), { ...options, name: name(index), index });
      } finally {
        await file.close();
      }
    },
  };
}

/** Records in memory. */
const partOf = (entries: readonly CaptionedEntry[], reading: Reading, options: ListOptions): Part => ({
  count: entries.length,
  name: (index) => entries[index]!.name,
  read: async (index) => await reading(entries[index]!.entry, { ...options, name: entries[index]!.name, index }),
});

/** Start and end of each element, alternating. */
async function elementPlaces(path: string, onSkip: OnSkip): Promise<readonly number[]> {
  const places: number[] = [];
  for await (const { start, end } of jsonElements(path, onSkip)) places.push(start, end);
  return places;
}

const newline = 10;

/** Start and end of each non-blank line, alternating; `lines` receives their numbers, from 1. */
async function linePlaces(path: string, lines?: number[]): Promise<readonly number[]> {
  const places: number[] = [];
  let read = 0;
  let begun = 0;
  let line = 1;
  let isBlank = true;
  const endLine = (end: number) => {
    if (!isBlank) {
      places.push(begun, end);
      lines?.push(line);
    }
    line += 1;
    begun = end + 1;
    isBlank = true;
  };
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 18 }) as AsyncIterable<Buffer>) {
    for (let i = 0; i < chunk.length; i += 1) {
      if (chunk[i] === newline) endLine(read + i);
      else if (chunk[i]! > 0x20) isBlank = false;
    }
    read += chunk.length;
  }
  endLine(read);
  return places;
}
