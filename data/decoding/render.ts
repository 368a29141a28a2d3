/**
 * Renders one image to a model's input: decode, crop, flip, normalize. The same function runs on the main thread and on
 * workers.
 */
import { FileError, type Sides, sidesOf, squareSide } from "../../compiler/index.ts";
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
  meanColour,
  paddedSides,
  photographs,
} from "../images.ts";
import { type Random, seededRandom } from "../random.ts";
import type { Window } from "../resample.ts";
import type { TilesInBatch } from "../tiles.ts";
import { type Augmentation, imagenet, imageTensor, type Normalization, randomView, wholeView } from "../view.ts";

/**
 * How a run renders images. `cover` and `stretched` are not for images with segmentation masks, which are cropped from
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
  const { size, normalization = imagenet, augmentation = {} } = options;
  if (options.tiles) {
    const tiling = { size: squareSide(size, "cutting images into tiles"), ...options.tiles };
    const cut = await decodeTiles(job.image, tiling, options.interpolation, photographs);
    return { pixels: imageTensor(cut, { size, normalization }).data as Float32Array };
  }
  const random = seededRandom(job.seed, ...job.keys);
  const { pixels, view, window } = augmentation.scale
    ? await randomPicture(job.image, options, augmentation, random)
    : await wholePicture(job.image, options, augmentation, random);
  const shown = { ...view, window: wholeView(pixels).window };
  const tensor = imageTensor([pixels], { size, views: [shown], normalization });
  const mask = job.mask === undefined ? undefined : await shownMask(job, window, view.flip, options);
  return { pixels: tensor.data as Float32Array, ...(mask ? { mask } : {}) };
}

async function wholePicture(image: ImageSource, options: ImageOptions, augmentation: Augmentation, random: Random) {
  const fill = meanColour((options.normalization ?? imagenet).mean);
  const pixels = await decodeImage(image, { fill, ...options, keepsAlpha: recolours(augmentation) }, photographs);
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
async function shownMask(job: RenderJob, window: Window | undefined, flip: boolean, { fit, size }: ImageOptions) {
  const { width, height, data } = await classesOf(job);
  const to = sidesOf(size);
  const shown = window ?? fitted({ width, height }, fit, to);
  const mask = new Int32Array(to.width * to.height).fill(besideThePicture);
  for (let row = 0; row < to.height; row += 1) {
    const y = Math.floor(shown.top + ((row + 0.5) * shown.height) / to.height);
    for (let column = 0; column < to.width; column += 1) {
      const x = Math.floor(shown.left + ((column + 0.5) * shown.width) / to.width);
      const at = row * to.width + (flip ? to.width - 1 - column : column);
      if (x >= 0 && y >= 0 && x < width && y < height) mask[at] = data[y * width + x]!;
    }
  }
  return mask;
}

/** The window of an image that `decodeImage` shows for a fit; for `pad` it is larger than the image. */
function fitted(picture: Sides, fit: Geometry["fit"], to: Sides): Window {
  if (fit === "squash") return { left: 0, top: 0, ...picture };
  if (fit === "pad") {
    const sides = paddedSides(picture, to);
    const before = (outer: number, length: number) => -Math.floor((outer - length) / 2);
    return { left: before(sides.width, picture.width), top: before(sides.height, picture.height), ...sides };
  }
  const sides = coveringSides(picture, [to.height, to.width]);
  const { left, top } = centred(sides, to);
  const across = (length: number) => (length * picture.width) / sides.width;
  const down = (length: number) => (length * picture.height) / sides.height;
  return { left: across(left), top: down(top), width: across(to.width), height: down(to.height) };
}
