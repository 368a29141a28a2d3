/**
 * Captions with splits, as Karpathy and Fei-Fei 2015 (arXiv:1412.2306) published them for Flickr8K, Flickr30K and COCO:
 * retrieval is evaluated on their test splits.
 */
import { FileError, shown } from "../../compiler/index.ts";
import { isRecord, type OnSkip } from "../files.ts";
import type { CaptionedEntry } from "./coco-captions.ts";

/** Whether images have their sentences and split in the same record, in which COCO's own form has neither. */
export const hasSplits = (images: readonly unknown[]): boolean =>
  images.some((image) => isRecord(image) && "sentences" in image && "split" in image);

/**
 * `[{ "filename", "filepath"?, "split", "sentences": [{ "raw" }] }]`, a record for each image of the splits, in their
 * order. Sentences without text are reported to `onSkip`. FileError for a split that no image is of, and for several if
 * none is asked for.
 */
export function karpathyCaptions(
  path: string,
  images: readonly unknown[],
  splits: readonly string[] | undefined,
  onSkip: OnSkip,
): readonly CaptionedEntry[] {
  const sizes = new Map<unknown, number>();
  for (const image of images.filter(isRecord)) sizes.set(image.split, (sizes.get(image.split) ?? 0) + 1);
  const fault = splits ? splits.find((split) => !sizes.has(split)) : sizes.size > 1 || undefined;
  if (fault !== undefined) {
    const there = [...sizes].map(([split, count]) => `${shown(split)} (${count})`).join(", ");
    throw new FileError(
      `list "${path}" has ${splits ? `no split ${shown(fault)}` : "several splits"}: ${there}\n  hint: append those to read, as in "${path}#test" or "${path}#train,restval"`,
    );
  }
  return images.flatMap((image, index) => {
    if (!isRecord(image) || (splits && !splits.includes(image.split as string))) return [];
    const name = `${path}: images[${index}]`;
    return [{ name, entry: entryOf(image, name, onSkip) }];
  });
}

/** The record without its sentences' tokens, which are most of a file. */
function entryOf({ sentences, sentids: _, ...image }: Readonly<Record<string, unknown>>, name: string, onSkip: OnSkip) {
  const captions = (Array.isArray(sentences) ? sentences : []).flatMap((sentence: unknown, index) => {
    if (isRecord(sentence) && typeof sentence.raw === "string") return [sentence.raw];
    onSkip({ name: `${name}.sentences[${index}]`, reason: 'it has no "raw"' });
    return [];
  });
  const { filepath, filename } = image;
  return { ...image, image: typeof filepath === "string" ? `${filepath}/${filename}` : filename, captions };
}
