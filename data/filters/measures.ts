/** Numbers that filters bound: of a caption, of a picture, of what a sample's json says. */
import { type ImageSource, imageSides } from "../images.ts";
import type { RawSample } from "../samples.ts";

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });

/** Words of any language: Chinese, Japanese and Thai, which have no spaces, are cut by ICU's dictionaries. */
export function wordCount(caption: string): number {
  let words = 0;
  for (const { isWordLike } of segmenter.segment(caption)) if (isWordLike) words += 1;
  return words;
}

/** Of one caption. */
export const captionMeasures: Readonly<Record<string, (caption: string) => number>> = {
  "caption.words": wordCount,
  "caption.characters": (caption) => [...caption].length,
};

interface Sides {
  readonly width: number;
  readonly height: number;
}

/** Of a picture, turned upright. */
export const pictureMeasures: Readonly<Record<string, (sides: Sides) => number>> = {
  "image.width": ({ width }) => width,
  "image.height": ({ height }) => height,
  "image.side": ({ width, height }) => Math.min(width, height),
  "image.aspect": ({ width, height }) => Math.max(width, height) / Math.min(width, height),
};

/** Read once for each sample, whatever number of filters ask. */
const known = new WeakMap<RawSample, Promise<Sides>>();

/** FileError when the picture cannot be read. */
export function sidesOf(raw: RawSample, image: ImageSource): Promise<Sides> {
  const sides = known.get(raw) ?? imageSides(image);
  known.set(raw, sides);
  return sides;
}

/** The number that a sample's json has for a name, also in records within: `score.clip.b32`. Numbers as texts count. */
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
