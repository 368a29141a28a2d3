/** A plain folder of pictures with captions: cat.jpg beside cat.txt. */
import { readFile } from "node:fs/promises";
import { join, parse } from "node:path";
import { FileError } from "../compiler/index.ts";
import { reasonOf, requirePath } from "./files.ts";
import type { Item } from "./items.ts";

/** The endings of picture files in folders and shards, lower case. */
export const imageExtensions: readonly string[] = [".jpg", ".jpeg", ".png", ".webp"];

/** The item of one picture; FileError where it has no caption. */
export async function captioned(
  folder: string,
  picture: string,
  texts: ReadonlySet<string>,
  language: string,
): Promise<Item> {
  const stem = parse(picture).name;
  const caption = `${stem}.txt`;
  if (!texts.has(caption)) throw new FileError(`it has no caption file "${caption}"`);
  await requirePath(join(folder, caption), "file", "caption"); // a pipe or a device has no end
  const bytes = await readFile(join(folder, caption)).catch((cause: unknown) => {
    throw new FileError(`its caption "${caption}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
  return { group: stem, images: [join(folder, picture)], texts: { [language]: captionLines(bytes, caption) } };
}

/** The non-empty lines of UTF-8 text; FileError when it is not UTF-8 or there are none. */
export function captionLines(bytes: Uint8Array, name: string): readonly string[] {
  const lines = decodeUtf8(bytes, name)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (lines.length === 0) throw new FileError(`its caption "${name}" is empty`);
  return lines;
}

/** Strict UTF-8: FileError instead of replacement characters. */
export function decodeUtf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FileError(`"${name}" is not UTF-8 text`, { cause });
  }
}
