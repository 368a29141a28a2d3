/** COCO's captions: images and their captions in two arrays of one object, also the form of NoCaps and STAIR. */
import { FileError, shown } from "../../compiler/index.ts";
import { isRecord, type OnSkip } from "../files.ts";

type Entry = Readonly<Record<string, unknown>>;

/** An image's record, with `image` and `captions` as in a list. */
export interface CaptionedEntry {
  /** Its name in messages. */
  readonly name: string;
  readonly entry: Entry;
}

/**
 * `{ "images": [{ "id", "file_name" }], "annotations": [{ "image_id", "caption" }] }`, a record per image in their
 * order. Captions of no image are reported to `onSkip`. FileError for an id of two images.
 */
export function cocoCaptions(
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
