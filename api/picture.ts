/** Images as model input: code common to Node and the browser. */
import { type HostTensor, UsageError } from "../compiler/index.ts";
import type { Pixels } from "../data/browser-index.ts";
import { type Geometry, imageTensor } from "../data/browser-index.ts";
import { imagenetPreprocessing, type PictureMode, type Preprocessing, pictureModes } from "../dsl/index.ts";
import { always, kinds, type OptionTable, oneOf, requireOptions } from "./options.ts";

/** No model takes more, and three planes of such a side are 3 GB. */
const mostSide = 2 ** 14;

/** Options of `picture`. */
export interface PictureOptions {
  /** Side of the model's square input, in pixels. */
  readonly size: number;
  /** The model's preprocessing (`model.preprocessing`); default ImageNet's mean and std. */
  readonly preprocessing?: Preprocessing;
  /** The mode whose fit is used, if the model has one for each. Default "features". */
  readonly mode?: PictureMode;
}

const hasStatistics = (value: unknown): boolean => {
  const { mean, std } = (value ?? {}) as Partial<Preprocessing>;
  return [mean, std].every((three) => Array.isArray(three) && three.length === 3 && three.every(Number.isFinite));
};

const pictureOptions: OptionTable<PictureOptions> = {
  size: always(kinds.number),
  preprocessing: { is: hasStatistics, needed: "the `preprocessing` of a model: { mean, std } of three channels" },
  mode: oneOf(pictureModes),
};

/** How an image becomes square. */
export function geometryOf(given: PictureOptions): Geometry {
  requireOptions("picture", given, pictureOptions);
  const { size, preprocessing = imagenetPreprocessing, mode = "features" } = given;
  if (!Number.isInteger(size) || size < 1 || size > mostSide)
    throw new UsageError(`the size of an image must be a whole number of pixels from 1 to ${mostSide}, got ${size}`);
  const { fit, margin, interpolation } = preprocessing;
  return {
    size,
    fit: (typeof fit === "object" ? fit[mode] : fit) ?? "crop",
    ...(margin !== undefined && { short: Math.round(margin * size) }),
    ...(interpolation && { interpolation }),
  };
}

/** A square image as the input `pixels`: f32 [batch = 1, channel, row, column], composited over white. */
export const pictureTensor = (
  pixels: Pixels,
  { size, preprocessing = imagenetPreprocessing }: PictureOptions,
): HostTensor => imageTensor([pixels], { size, normalization: { mean: preprocessing.mean, std: preprocessing.std } });
