/** Pictures as a model takes them: what is common to Node and a page. */
import { type HostTensor, UsageError } from "../compiler/index.ts";
import type { Pixels } from "../data/browser-index.ts";
import { type Geometry, imageTensor } from "../data/browser-index.ts";
import { imagenetPreprocessing, type PictureMode, type Preprocessing, pictureModes } from "../dsl/index.ts";
import { always, kinds, type OptionTable, oneOf, requireOptions } from "./options.ts";

/** No model takes more, and three planes of such a side are 3 GB. */
const mostSide = 2 ** 14;

/** What a model takes for a picture. */
export interface PictureOptions {
  /** The side of the square that the model takes, in pixels. */
  readonly size: number;
  /** How a model says that pictures become its input (`model.preprocessing`); default the statistics of ImageNet. */
  readonly preprocessing?: Preprocessing;
  /** For which of the model's uses, where it has one fit for each. Default "features". */
  readonly mode?: PictureMode;
}

const hasStatistics = (value: unknown): boolean => {
  const { mean, std } = (value ?? {}) as Partial<Preprocessing>;
  return [mean, std].every((three) => Array.isArray(three) && three.length === 3 && three.every(Number.isFinite));
};

const pictureOptions: OptionTable<PictureOptions> = {
  size: always(kinds.number),
  preprocessing: { is: hasStatistics, needed: "what a model's `preprocessing` says: { mean, std } of three colours" },
  mode: oneOf(pictureModes),
};

/** How a picture becomes a square. */
export function geometryOf(given: PictureOptions): Geometry {
  requireOptions("picture", given, pictureOptions);
  const { size, preprocessing = imagenetPreprocessing, mode = "features" } = given;
  if (!Number.isInteger(size) || size < 1 || size > mostSide)
    throw new UsageError(`a picture's size is a whole number of pixels from 1 to ${mostSide}, not ${size}`);
  const { fit, margin, interpolation } = preprocessing;
  return {
    size,
    fit: (typeof fit === "object" ? fit[mode] : fit) ?? "crop",
    ...(margin !== undefined && { short: Math.round(margin * size) }),
    ...(interpolation && { interpolation }),
  };
}

/** A square of pixels as the input `pixels`: f32 [batch = 1, channel, row, column], transparent parts over white. */
export const pictureTensor = (
  pixels: Pixels,
  { size, preprocessing = imagenetPreprocessing }: PictureOptions,
): HostTensor => imageTensor([pixels], { size, normalization: { mean: preprocessing.mean, std: preprocessing.std } });
