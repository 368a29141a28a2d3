/** Numeric measures for filters: of a caption, of an image, and from a sample's JSON. */
import type { Sides } from "../../compiler/index.ts";
import { type ImageSource, imageSides } from "../images.ts";
import type { RawSample } from "../samples.ts";

const segmenter = new Intl.Segmenter("en", { granularity: "word" });

/**
 * Word count in any language: Chinese, Japanese and Thai, which have no spaces, are segmented with ICU's dictionaries.
 */
export function wordCount(caption: string): number {
  let words = 0;
  for (const { isWordLike } of segmenter.segment(caption)) if (isWordLike) words += 1;
  return words;
}

/** Measures of a caption. */
export const captionMeasures: Readonly<Record<string, (caption: string) => number>> = {
  "caption.words": wordCount,
  "caption.characters": (caption) => [...caption].length,
};

/** Measures of an image, after EXIF rotation. */
export const pictureMeasures: Readonly<Record<string, (sides: Sides) => number>> = {
  "image.width": ({ width }) => width,
  "image.height": ({ height }) => height,
  "image.side": ({ width, height }) => Math.min(width, height),
  "image.aspect": ({ width, height }) => Math.max(width, height) / Math.min(width, height),
};

/** Cached, so that several filters read them only once per sample. */
const known = new WeakMap<RawSample, Promise<Sides>>();

/** FileError when the image cannot be read. */
export function sidesOfSample(raw: RawSample, image: ImageSource): Promise<Sides> {
  const sides = known.get(raw) ?? imageSides(image);
  known.set(raw, sides);
  return sides;
}

/** A number from a sample's JSON by name, including nested fields: `score.clip.b32`. Numeric strings count. */
export function fieldOf({ fields }: RawSample, name: string): number | undefined {
  const value = Object.hasOwn(fields, name) ? fields[name] : within(fields, name.split("."));
  if (typeof value === "number" && Number.isFinite(value)) return value;
  const read = typeof value === "string" && value.trim() !== "" ? Number(value) : Number.NaN;
  return Number.isFinite(read) ? read : undefined;
}

function within(value: unknown, names: readonly string[]): unknown {
  return names.reduce<unknown>(
    (inner, name) =>
      typeof inner === "object" && inner !== null && Object.hasOwn(inner, name)
        ? (inner as Readonly<Record<string, unknown>>)[name]
        : undefined,
    value,
  );
}
