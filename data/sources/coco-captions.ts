/** Captions in one object: COCO's two arrays of images and captions, also the form of NoCaps and STAIR, or Karpathy's. */
import { open } from "node:fs/promises";
import { FileError, shown } from "../../compiler/index.ts";
import { isRecord, type OnSkip, readJson } from "../files.ts";
import { hasSplits, karpathyCaptions } from "./karpathy-splits.ts";

type Entry = Readonly<Record<string, unknown>>;

/** An image's record, with `image` and `captions` as in a list. */
export interface CaptionedEntry {
  /** Its name in messages. */
  readonly name: string;
  readonly entry: Entry;
}

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

/**
 * `{ "images": [{ "id", "file_name" }], "annotations": [{ "image_id", "caption" }] }`, a record per image in their
 * order. Captions of no image are reported to `onSkip`. FileError for an id of two images.
 */
function cocoCaptions(
  path: string,
  images: readonly unknown[],
  annotations: readonly unknown[],
  onSkip: OnSkip,
): readonly CaptionedEntry[] {
  const captions = new Map<unknown, unknown[]>(images.map((image) => [idOf(image), []]));
  if (captions.size < images.length || captions.has(undefined))
    throw new FileError(`list "${path}" has several images with one id, or with none`);
  for (const [index, one] of annotations.entries()) {
    const [id, caption]: unknown[] = isRecord(one) ? [one.image_id, one.caption] : [];
    const own = captions.get(id);
    if (own && typeof caption === "string") own.push(caption);
    else {
      const reason = own ? 'it has no "caption"' : `its image_id ${shown(id)} is that of no image`;
      onSkip({ name: `${path}: annotations[${index}]`, reason });
    }
  }
  return (images as readonly Entry[]).map((image) => ({
    name: `${path}: image ${shown(image.id)}`,
    entry: { ...image, image: image.file_name, captions: captions.get(image.id)! },
  }));
}

const idOf = (image: unknown): unknown => (isRecord(image) ? image.id : undefined);

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
