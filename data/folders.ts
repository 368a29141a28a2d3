/** A folder of images with caption files: cat.jpg beside cat.txt. */
import { readFile } from "node:fs/promises";
import { join, parse } from "node:path";
import { FileError } from "../compiler/index.ts";
import { isInvisible, reasonOf, requirePath } from "./files.ts";
import type { Item } from "./items.ts";

/** File extensions of images in folders and shards, lower case. */
export const imageExtensions: readonly string[] = [".jpg", ".jpeg", ".png", ".webp"];

/** File extensions of images that are not read, lower case. */
export const otherImageExtensions: readonly string[] = [
  ...[".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl", ".ppm", ".svg", ".tif", ".tiff"],
];

/** Maps images to caption files. */
export interface CaptionFiles {
  /** The caption file's name; undefined if there is none. */
  readonly of: (picture: string) => string | undefined;
}

/**
 * The caption files among the names in a folder: cat.txt for cat.jpg. Failing that, one whose name differs in Unicode
 * normalization, or has an upper-case extension, as some file systems produce.
 */
export function captionFiles(names: readonly string[]): CaptionFiles {
  const exact = new Set(names.filter((name) => name.toLowerCase().endsWith(".txt")));
  const alike = new Map([...exact].map((name) => [parse(name).name.normalize("NFC"), name]));
  return {
    of: (picture) => {
      const { name } = parse(picture);
      return exact.has(`${name}.txt`) ? `${name}.txt` : alike.get(name.normalize("NFC"));
    },
  };
}

/** The item of one image; FileError when it has no caption. */
export async function captioned(folder: string, picture: string, texts: CaptionFiles, language: string): Promise<Item> {
  const stem = parse(picture).name;
  const caption = texts.of(picture);
  if (caption === undefined) throw new FileError(`it has no caption file "${stem}.txt"`);
  await requirePath(join(folder, caption), "file", "caption"); // a pipe or a device has no end
  const bytes = await readFile(join(folder, caption)).catch((cause: unknown) => {
    throw new FileError(`its caption file "${caption}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
  return { group: stem, images: [join(folder, picture)], texts: { [language]: captionLines(bytes, caption) } };
}

/** The non-empty lines of a UTF-8 text; FileError when it is not UTF-8 or has none. */
export function captionLines(bytes: Uint8Array, name: string): readonly string[] {
  const lines = decodeUtf8(bytes, name)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => !isInvisible(line));
  if (lines.length === 0) throw new FileError(`its caption file "${name}" is empty`);
  return lines;
}

/** Strict UTF-8 decoding: FileError instead of replacement characters. */
export function decodeUtf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FileError(`"${name}" is not UTF-8 text`, { cause });
  }
}
