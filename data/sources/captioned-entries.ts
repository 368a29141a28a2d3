/** Captions in one object: COCO's form, or Karpathy's with splits. */
import { open } from "node:fs/promises";
import { FileError } from "../../compiler/index.ts";
import { isRecord, type OnSkip, readJson } from "../files.ts";
import { type CaptionedEntry, cocoCaptions } from "./coco-captions.ts";
import { hasSplits, karpathyCaptions } from "./karpathy-splits.ts";

/**
 * The records of a file with one object: COCO's form, or Karpathy's, of the given splits. Undefined if the file is an
 * array. FileError for other objects, and for splits that the file does not have.
 */
export async function captionedEntries(
  path: string,
  splits: readonly string[] | undefined,
  onSkip: OnSkip,
): Promise<readonly CaptionedEntry[] | undefined> {
  if ((await firstCharacter(path)) !== "{") return undefined;
  const value = await readJson(path, "list of captions");
  const { images, annotations } = isRecord(value) ? value : {};
  if (Array.isArray(images) && hasSplits(images)) return karpathyCaptions(path, images, splits, onSkip);
  if (!Array.isArray(images) || !Array.isArray(annotations))
    throw new FileError(
      `list "${path}" is neither a JSON array nor an object with "images" and "annotations", as COCO's captions, or with the sentences and splits of "images", as Karpathy's; if it has a record per line, name it .jsonl`,
    );
  return splits ? undefined : cocoCaptions(path, images, annotations, onSkip);
}

const headBytes = 64;

/** The first character that is neither a space nor a byte order mark. */
async function firstCharacter(path: string): Promise<string | undefined> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(headBytes), 0, headBytes, 0);
    return new TextDecoder().decode(buffer.subarray(0, bytesRead)).trimStart()[0];
  } finally {
    await file.close();
  }
}
