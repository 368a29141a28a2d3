/** Images as model input: code common to Node and the browser. */
import { type HostTensor, type ImageSize, requireImageSize, scaledSize } from "../compiler/index.ts";
import type { Pixels } from "../data/browser-index.ts";
import { type Geometry, imageTensor, meanColour } from "../data/browser-index.ts";
import {
  imagenetPreprocessing,
  type PictureMode,
  type Preprocessing,
  pictureModes,
  pixelValues,
} from "../dsl/index.ts";
import { always, type OptionTable, oneOf, requireOptions } from "./options.ts";

/** No model takes more, and three planes of such a side are 3 GB. */
const mostSide = 2 ** 14;

/** Options of `picture`. */
export interface PictureOptions {
  /** Size of the model's input in pixels: [height, width], or one number for a square. */
  readonly size: ImageSize;
  /** The model's preprocessing (`model.preprocessing`); default ImageNet's mean and std. */
  readonly preprocessing?: Preprocessing;
  /** The mode whose fit is used, if the model has one for each. Default "features". */
  readonly mode?: PictureMode;
}

const hasStatistics = (value: unknown): boolean => {
  const { mean, std } = (value ?? {}) as Partial<Preprocessing>;
  return [mean, std].every((three) => Array.isArray(three) && three.length === 3 && three.every(Number.isFinite));
};

const isSize = (value: unknown): boolean => typeof value === "number" || Array.isArray(value);

const pictureOptions: OptionTable<PictureOptions> = {
  size: always({ is: isSize, needed: "a number of pixels, or two: [height, width]" }),
  preprocessing: { is: hasStatistics, needed: "the `preprocessing` of a model: { mean, std } of three channels" },
  mode: oneOf(pictureModes),
};

/** How an image becomes one of the size. */
export function geometryOf(given: PictureOptions): Geometry {
  requireOptions("picture", given, pictureOptions);
  const { size, preprocessing = imagenetPreprocessing, mode = "features" } = given;
  requireImageSize(size, mostSide);
  const { fit, margin, interpolation } = preprocessing;
  return {
    size,
    fill: meanColour(preprocessing.mean),
    fit: (typeof fit === "object" ? fit[mode] : fit) ?? "crop",
    ...(margin !== undefined && { cover: scaledSize(size, margin) }),
    ...(interpolation && { interpolation }),
  };
}

/** An image of the size as the input `pixels`: f32 [batch = 1, channel, row, column], composited over white. */
export const pictureTensor = (
  pixels: Pixels,
  { size, preprocessing = imagenetPreprocessing }: PictureOptions,
): HostTensor => imageTensor([pixels], { size, normalization: pixelValues(preprocessing) });
