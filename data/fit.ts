/** Resizes images of any size to squares, as Pillow, torchvision and transformers do. */
import { FileError } from "../compiler/index.ts";
import { overWhite, type Pixels, padPixels, type Rgb, resizePixels } from "./pixels.ts";
import type { Window } from "./resample.ts";
import type { Interpolation } from "./resample-kernels.ts";

/**
 * How an image becomes a square of `size` pixels, bit-identical to Pillow and torchvision:
 * `squash` resizes directly, ignoring the aspect ratio (retrieval, captioning);
 * `crop` resizes the short side and crops the centre (classification);
 * `pad` first pads the short side with `fill`, default the ImageNet mean colour (chat).
 */
export interface Geometry {
  readonly size: number;
  readonly fit: "squash" | "crop" | "pad";
  readonly fill?: Rgb;
  /** The size of the short side before the centre crop of `size` pixels; default `size`. */
  readonly short?: number;
  /** With `crop`, resizes both sides to `short` first, ignoring the aspect ratio, as some published processors do. */
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

/** The ImageNet mean as an 8-bit colour, the padding of LLaVA-style models. */
export const meanColour: Rgb = [123, 116, 103];

/** Larger images are rejected before decoding: a decompression bomb. */
export const pixelLimit = 100_000_000;
const enlargedLimit = 16_000_000; // nor may padding or cropping make a narrow image enormous
const mostEnlarged = 4; // limit on enlarging large photos and panoramas

/** A decoded image as the square that a geometry describes. Throws FileError when it would become enormous. */
export async function fitted(picture: Readable, geometry: Geometry): Promise<Pixels> {
  const { size, fit, fill, short = size, stretched = false, centre, keepsAlpha, interpolation = "bicubic" } = geometry;
  const { width, height } = picture;
  const read = async () => (keepsAlpha ? await picture.read() : overWhite(await picture.read()));
  if (fit === "pad") {
    const side = Math.max(width, height);
    checkArea(side, side, picture);
    return resizePixels(padPixels(await read(), fill ?? meanColour), {
      width: size,
      height: size,
      interpolation,
    });
  }
  const covered = Math.max(short, size);
  const aspect = stretched ? { width: 1, height: 1 } : picture;
  const sides = fit === "crop" ? coveringSides(aspect, covered) : { width: size, height: size };
  if (sides.width > width || sides.height > height) checkArea(sides.width, sides.height, picture);
  return resizePixels(await read(), { ...sides, window: centred(sides, size, centre), interpolation });
}

/** An image whose pixels are read on demand. */
export interface Readable extends Sides {
  readonly read: () => Pixels | Promise<Pixels>;
}

export interface Sides {
  readonly width: number;
  readonly height: number;
}

/**
 * The size of an image after its short side is resized to `size`; the long side is truncated to whole pixels, as in
 * torchvision.
 */
export function coveringSides({ width, height }: Sides, size: number): Sides {
  const long = (side: number) => Math.floor((size * side) / Math.min(width, height));
  return width <= height ? { width: size, height: long(height) } : { width: long(width), height: size };
}

/** The central square of `size` pixels: CenterCrop of torchvision or of transformers. */
export function centred({ width, height }: Sides, size: number, centre: Geometry["centre"] = "even"): Window {
  const round = centre === "even" ? halfEven : Math.floor;
  return { left: round((width - size) / 2), top: round((height - size) / 2), width: size, height: size };
}

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
