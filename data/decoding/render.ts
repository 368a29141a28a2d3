/**
 * Renders one image to a model's input: decode, crop, flip, normalize. The same function runs on the main thread and on
 * workers.
 */
import { FileError } from "../../compiler/index.ts";
import {
  type Classes,
  centred,
  coveringSides,
  decodeClasses,
  decodeImage,
  decodeTiles,
  decodeWindow,
  type Geometry,
  type ImageSource,
  imageSides,
  photographs,
} from "../images.ts";
import { type Random, seededRandom } from "../random.ts";
import type { Window } from "../resample.ts";
import type { TilesInBatch } from "../tiles.ts";
import { type Augmentation, imagenet, imageTensor, type Normalization, randomView, wholeView } from "../view.ts";

/**
 * How a run renders images. `short` and `stretched` are not for images with segmentation masks, which are cropped from
 * the whole image.
 */
export interface ImageOptions extends Omit<Geometry, "keepsAlpha"> {
  /** Default ImageNet's. */
  readonly normalization?: Normalization;
  /** With `scale`, crops are taken from the original image, and `fit` is ignored. */
  readonly augmentation?: Augmentation;
  /** Tiles the whole image, without augmentation. */
  readonly tiles?: TilesInBatch;
}

/** An image to render, with the random keys of its view. */
export interface RenderJob {
  readonly image: ImageSource;
  readonly mask?: ImageSource;
  readonly seed: number;
  readonly keys: readonly number[];
}

export interface Rendered {
  /** [channel, row, column], normalized; several tiles are concatenated. */
  readonly pixels: Float32Array;
  /** [row, column] */
  readonly mask?: Int32Array;
}

/** FileError naming the image, or its annotation, when it cannot be read. */
export async function render(job: RenderJob, options: ImageOptions): Promise<Rendered> {
  const { size, fit, normalization = imagenet, augmentation = {} } = options;
  if (options.tiles) {
    const cut = await decodeTiles(job.image, { size, ...options.tiles }, options.interpolation, photographs);
    return { pixels: imageTensor(cut, { size, normalization }).data as Float32Array };
  }
  const random = seededRandom(job.seed, ...job.keys);
  const { pixels, view, window } = augmentation.scale
    ? await randomPicture(job.image, options, augmentation, random)
    : await wholePicture(job.image, options, augmentation, random);
  const shown = { ...view, window: wholeView(pixels).window };
  const tensor = imageTensor([pixels], { size, views: [shown], normalization });
  const mask = job.mask === undefined ? undefined : shownMask(await classesOf(job), window, view.flip, fit, size);
  return { pixels: tensor.data as Float32Array, ...(mask ? { mask } : {}) };
}

async function wholePicture(image: ImageSource, options: ImageOptions, augmentation: Augmentation, random: Random) {
  const pixels = await decodeImage(image, { ...options, keepsAlpha: recolours(augmentation) }, photographs);
  return { pixels, view: randomView(pixels, augmentation, random), window: undefined };
}

async function randomPicture(
  image: ImageSource,
  { size, interpolation }: ImageOptions,
  augmentation: Augmentation,
  random: Random,
) {
  let view = wholeView({ width: 0, height: 0 });
  const pixels = await decodeWindow(
    image,
    { size, keepsAlpha: recolours(augmentation), ...(interpolation && { interpolation }) },
    (picture) => {
      view = randomView(picture, augmentation, random);
      return view.window;
    },
  );
  return { pixels, view, window: view.window };
}

/** Whether the background is drawn with the view, so that transparent images cannot be composited before. */
const recolours = ({ recolour = 0 }: Augmentation): boolean => recolour > 0;

async function classesOf({ image, mask }: RenderJob): Promise<Classes> {
  const classes = await decodeClasses(mask!);
  const sides = await imageSides(image);
  if (sides.width === classes.width && sides.height === classes.height) return classes;
  const [a, b] = [sides, classes].map(({ width, height }) => `${width} x ${height}`);
  throw new FileError(`the image has ${a} pixels, but its mask has ${b}`);
}

/** The label of pixels outside the image, which the trainers of ADE20K and Cityscapes ignore in the loss. */
const besideThePicture = 255;

/** The mask resampled by nearest neighbour, aligned with the resized image. */
function shownMask(
  { width, height, data }: Classes,
  window: Window | undefined,
  flip: boolean,
  fit: Geometry["fit"],
  size: number,
): Int32Array {
  const shown = window ?? fitted(width, height, fit, size);
  const mask = new Int32Array(size * size).fill(besideThePicture);
  for (let row = 0; row < size; row += 1) {
    const y = Math.floor(shown.top + ((row + 0.5) * shown.height) / size);
    for (let column = 0; column < size; column += 1) {
      const x = Math.floor(shown.left + ((column + 0.5) * shown.width) / size);
      const to = row * size + (flip ? size - 1 - column : column);
      if (x >= 0 && y >= 0 && x < width && y < height) mask[to] = data[y * width + x]!;
    }
  }
  return mask;
}

/** The window of an image that `decodeImage` shows for a fit; for `pad` it is larger than the image. */
function fitted(width: number, height: number, fit: Geometry["fit"], size: number): Window {
  if (fit === "squash") return { left: 0, top: 0, width, height };
  if (fit === "pad") {
    const side = Math.max(width, height);
    const before = (length: number) => -Math.floor((side - length) / 2);
    return { left: before(width), top: before(height), width: side, height: side };
  }
  const sides = coveringSides({ width, height }, size);
  const { left, top } = centred(sides, size);
  const cut = (before: number, length: number, resized: number) => ({
    before: (before * length) / resized,
    length: (size * length) / resized,
  });
  const [columns, rows] = [cut(left, width, sides.width), cut(top, height, sides.height)];
  return { left: columns.before, top: rows.before, width: columns.length, height: rows.length };
}
