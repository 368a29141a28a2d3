/** How pictures of any sides become squares of pixels, as Pillow, torchvision and transformers make them. */
import { FileError } from "../compiler/index.ts";
import { type Pixels, padPixels, type Rgb, resizePixels } from "./pixels.ts";
import type { Window } from "./resample.ts";
import type { Interpolation } from "./resample-kernels.ts";

/**
 * How any picture becomes a square of `size` pixels, to the bit as Pillow and torchvision make it:
 * `squash` resizes directly and keeps no aspect ratio (retrieval, captioning);
 * `crop` resizes the short side and cuts the centre out (classification);
 * `pad` first pads the short side with `fill`, default the ImageNet mean colour (chat).
 */
export interface Geometry {
  readonly size: number;
  readonly fit: "squash" | "crop" | "pad";
  readonly fill?: Rgb;
  /** What the short side of a picture becomes before the centre of `size` pixels is cut out; default `size`. */
  readonly short?: number;
  /** With `crop`, whether both sides become `short` first, whatever they were: as some published processors have it. */
  readonly stretched?: boolean;
  /** Where a centre lies between two pixels: the even one, as in torchvision, or the lower one, as in transformers. Default even. */
  readonly centre?: "even" | "lower";
  /** Default bicubic, as all of the published models have it that are known here. */
  readonly interpolation?: Interpolation;
}

/** The ImageNet mean as 8-bit colour, which LLaVA-style models pad with. */
export const meanColour: Rgb = [123, 116, 103];

/** A decompression bomb is refused before it is decoded. */
export const pixelLimit = 100_000_000;
const enlargedLimit = 16_000_000; // and so is a thin picture, which padding or cropping would make enormous
const mostEnlarged = 4; // photos and panoramas become at most so many times as large as they are

/** A decoded picture as the square that a geometry makes of it. Throws FileError for one that would become enormous. */
export async function fitted(picture: Readable, geometry: Geometry): Promise<Pixels> {
  const { size, fit, fill, short = size, stretched = false, centre, interpolation = "bicubic" } = geometry;
  const { width, height } = picture;
  if (fit === "pad") {
    const side = Math.max(width, height);
    checkArea(side, side, picture);
    return resizePixels(padPixels(await picture.read(), fill ?? meanColour), {
      width: size,
      height: size,
      interpolation,
    });
  }
  const covered = Math.max(short, size);
  const aspect = stretched ? { width: 1, height: 1 } : picture;
  const sides = fit === "crop" ? coveringSides(aspect, covered) : { width: size, height: size };
  if (sides.width > width || sides.height > height) checkArea(sides.width, sides.height, picture);
  return resizePixels(await picture.read(), { ...sides, window: centred(sides, size, centre), interpolation });
}

/** A picture whose pixels are read when they are asked for. */
export interface Readable extends Sides {
  readonly read: () => Pixels | Promise<Pixels>;
}

interface Sides {
  readonly width: number;
  readonly height: number;
}

/** The sides of a picture whose short one becomes `size`; the long one is cut off to whole pixels, as torchvision does. */
export function coveringSides({ width, height }: Sides, size: number): Sides {
  const long = (side: number) => Math.floor((size * side) / Math.min(width, height));
  return width <= height ? { width: size, height: long(height) } : { width: long(width), height: size };
}

/** The square of `size` pixels in the middle of larger sides: torchvision's CenterCrop, or that of transformers. */
export function centred({ width, height }: Sides, size: number, centre: Geometry["centre"] = "even"): Window {
  const round = centre === "even" ? halfEven : Math.floor;
  return { left: round((width - size) / 2), top: round((height - size) / 2), width: size, height: size };
}

function checkArea(width: number, height: number, from: Sides): void {
  const area = width * height;
  const most = Math.max(enlargedLimit, Math.min(pixelLimit, mostEnlarged * from.width * from.height));
  if (area <= most) return;
  const sides = [from.width, from.height];
  const what = Math.max(...sides) > mostEnlarged * Math.min(...sides) ? "long and narrow" : "large";
  throw new FileError(`it is too ${what}: it would have to become ${width} x ${height} pixels`);
}

/** Rounds a half to the even neighbour, as Python's `round` in torchvision's CenterCrop does. */
const halfEven = (x: number) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
