/** Fits images of any size to a model's, as Pillow, torchvision, timm and transformers do. */
import { FileError, type ImageSize, type Sides, sidesOf } from "../compiler/index.ts";
import { overWhite, type Pixels, placedPixels, type Rgb, resizePixels } from "./pixels.ts";
import type { Window } from "./resample.ts";
import type { Interpolation } from "./resample-kernels.ts";

/**
 * How an image becomes one of `size`, bit-identical to Pillow and torchvision:
 * `squash` resizes directly, ignoring the aspect ratio (retrieval, captioning);
 * `crop` resizes in proportion until the image covers the size, and crops the centre (classification);
 * `pad` pads the image to the aspect ratio of the size with `fill` (chat).
 */
export interface Geometry {
  readonly size: ImageSize;
  readonly fit: "squash" | "crop" | "pad";
  /** The colour beside a padded image; default ImageNet's mean. */
  readonly fill?: Rgb;
  /** Whether `pad` pads before it resizes, as LLaVA's processor, or after, as Donut's. Default before. */
  readonly padding?: "before" | "after";
  /**
   * What the image covers before the centre crop, default `size`: of a number, the short side gets that length. Where
   * the image is smaller than the crop, it is black beside it, as in torchvision.
   */
  readonly cover?: ImageSize;
  /** With `crop`, the image is first resized to exactly `cover`, as some published processors do. */
  readonly stretched?: boolean;
  /**
   * Rounding of a centre between two pixels: to the even one, as in torchvision, or down, as in transformers. Default
   * even.
   */
  readonly centre?: "even" | "lower";
  /**
   * Keeps alpha, for a background that is chosen later. By default a transparent image is composited over white before
   * it is resized, as in transformers.
   */
  readonly keepsAlpha?: boolean;
  /** Default bicubic, which all known published models use. */
  readonly interpolation?: Interpolation;
}

/** A mean of pixels in [0, 1] as an 8-bit colour, truncated: the padding of LLaVA-style models. */
export const meanColour = ([r, g, b]: Rgb): Rgb => [Math.trunc(255 * r), Math.trunc(255 * g), Math.trunc(255 * b)];
const imagenetColour: Rgb = [123, 116, 103];
const black: Rgb = [0, 0, 0];

/** Larger images are rejected before decoding: a decompression bomb. */
export const pixelLimit = 100_000_000;
const enlargedLimit = 16_000_000; // nor may padding or cropping make a narrow image enormous
const mostEnlarged = 4; // limit on enlarging large photos and panoramas

/** An image whose pixels are read on demand. */
export interface Readable extends Sides {
  readonly read: () => Pixels | Promise<Pixels>;
}

/** A decoded image fitted to the size of a geometry. Throws FileError when it would become enormous. */
export function fitted(image: Readable, geometry: Geometry): Promise<Pixels> {
  const { width, height } = image;
  const picture = geometry.keepsAlpha ? image : { width, height, read: async () => overWhite(await image.read()) };
  if (geometry.fit !== "pad") return cropped(picture, geometry);
  return geometry.padding === "after" ? letterboxed(picture, geometry) : padded(picture, geometry);
}

/** Squashed, or resized and cropped. */
async function cropped(picture: Readable, geometry: Geometry): Promise<Pixels> {
  const { size, fit, cover = size, stretched = false, centre, interpolation = "bicubic" } = geometry;
  const { width, height } = sidesOf(size);
  const isExact = fit === "squash" || stretched;
  const sides = isExact ? sidesOf(fit === "squash" ? size : cover) : coveringSides(picture, cover);
  checkEnlarged(sides, picture);
  const window = centred(sides, { width, height }, centre);
  const seen = overlap(window, sides);
  const pixels = resizePixels(await picture.read(), { ...sides, window: seen, interpolation });
  const place = { left: seen.left - window.left, top: seen.top - window.top };
  return placedPixels(pixels, { width, height, ...place }, black);
}

/** Padded, then resized. */
async function padded(picture: Readable, { size, fill = imagenetColour, interpolation }: Geometry): Promise<Pixels> {
  const target = sidesOf(size);
  const sides = paddedSides(picture, target);
  checkArea(sides.width, sides.height, picture);
  const whole = placedPixels(await picture.read(), { ...sides, ...centredIn(sides, picture) }, fill);
  return resizePixels(whole, { ...target, ...(interpolation && { interpolation }) });
}

/**
 * Resized to fit into the size, then padded. First the short side becomes the shorter one of the size, whether that
 * fits or not: DonutImageProcessor of transformers.
 */
async function letterboxed(
  picture: Readable,
  { size, fill = imagenetColour, interpolation }: Geometry,
): Promise<Pixels> {
  const target = sidesOf(size);
  const how = interpolation ? { interpolation } : {};
  const first = coveringSides(picture, Math.min(target.width, target.height));
  checkEnlarged(first, picture);
  const resized = resizePixels(await picture.read(), { ...first, ...how });
  const inside = resizePixels(resized, { ...thumbnailSides(first, target), ...how });
  return placedPixels(inside, { ...target, ...centredIn(target, inside) }, fill);
}

/** Sides that fit into a size, in proportion: Donut's `thumbnail`. */
function thumbnailSides({ width, height }: Sides, target: Sides): Sides {
  const most = { width: Math.min(width, target.width), height: Math.min(height, target.height) };
  if (most.width === width && most.height === height) return most;
  if (height > width) return { ...most, width: Math.max(1, Math.trunc((width * most.height) / height)) };
  return { ...most, height: Math.max(1, Math.trunc((height * most.width) / width)) };
}

/** The sides of an image padded to the aspect ratio of `target`. */
export function paddedSides({ width, height }: Sides, target: Sides): Sides {
  if (width * target.height >= height * target.width)
    return { width, height: Math.max(height, Math.round((width * target.height) / target.width)) };
  return { width: Math.max(width, Math.round((height * target.width) / target.height)), height };
}

/** Where an image lies in the middle of larger sides; an odd difference adds one more pixel below or right. */
const centredIn = (outer: Sides, inner: Sides) => ({
  left: Math.floor((outer.width - inner.width) / 2),
  top: Math.floor((outer.height - inner.height) / 2),
});

/**
 * The sides of an image resized in proportion to cover a size. The long side of an image that covers a square is
 * truncated to whole pixels, as torchvision's Resize does; for another size, which that does not know, it is rounded to
 * even, as timm's ResizeKeepRatio does.
 */
export function coveringSides({ width, height }: Sides, size: ImageSize): Sides {
  const box = sidesOf(size);
  if (box.width === box.height) {
    const long = (side: number) => Math.floor((box.width * side) / Math.min(width, height));
    return width <= height ? { width: box.width, height: long(height) } : { width: long(width), height: box.height };
  }
  const ratio = Math.min(height / box.height, width / box.width);
  return { width: halfEven(width / ratio), height: halfEven(height / ratio) };
}

/** The central window of a size, CenterCrop of torchvision or of transformers; larger than the image if that is. */
export function centred(sides: Sides, { width, height }: Sides, centre: Geometry["centre"] = "even"): Window {
  const before = (left: number) => {
    if (centre === "lower") return Math.floor(left / 2);
    return left < 0 ? Math.ceil(left / 2) : halfEven(left / 2);
  };
  return { left: before(sides.width - width), top: before(sides.height - height), width, height };
}

/** The part of a window that an image of these sides has. */
function overlap({ left, top, width, height }: Window, sides: Sides): Window {
  const [x, y] = [Math.max(0, left), Math.max(0, top)];
  const [right, bottom] = [Math.min(sides.width, left + width), Math.min(sides.height, top + height)];
  return { left: x, top: y, width: right - x, height: bottom - y };
}

const checkEnlarged = (sides: Sides, from: Sides): void => {
  if (sides.width > from.width || sides.height > from.height) checkArea(sides.width, sides.height, from);
};

export function checkArea(width: number, height: number, from: Sides): void {
  const area = width * height;
  const most = Math.max(enlargedLimit, Math.min(pixelLimit, mostEnlarged * from.width * from.height));
  if (area <= most) return;
  const sides = [from.width, from.height];
  const what = Math.max(...sides) > mostEnlarged * Math.min(...sides) ? "long and narrow" : "large";
  throw new FileError(`it is too ${what}: resizing would give ${width} x ${height} pixels`);
}

/** Rounds halves to even, as Python's `round` in torchvision's CenterCrop does. */
const halfEven = (x: number) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
