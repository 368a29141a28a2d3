/** Segmentation maps as images: class numbers in the format of annotations, and colours overlaid on an image. */
import sharp from "sharp";
import { UsageError } from "../compiler/index.ts";
import type { Pixels, Rgb } from "./pixels.ts";

interface Places {
  readonly width: number;
  readonly height: number;
  /** [row, column] */
  readonly data: ArrayLike<number>;
}

/** The largest class number in an annotation: 255 means no class. */
const mostNumber = 254;

/** An 8-bit grey PNG of class numbers, numbered from `first`; other numbers become 255, no class. */
export async function classesPng({ width, height, data }: Places, first: number): Promise<Uint8Array> {
  const numbers = new Uint8Array(data.length);
  for (let i = 0; i < numbers.length; i++) {
    const number = data[i]! + first;
    if (number > mostNumber)
      throw new UsageError(`class ${data[i]} cannot be written: 8-bit masks hold class numbers up to ${mostNumber}`);
    numbers[i] = data[i]! < 0 ? mostNumber + 1 : number;
  }
  const image = sharp(numbers, { raw: { width, height, channels: 1 } });
  return await image.toColourspace("b-w").png().toBuffer();
}

/** Opacity of the class colours. */
const opacity = 0.6;

/** A PNG of an image of the same size, overlaid with class colours; negative numbers have none. */
export async function classesDrawn(picture: Pixels, { data }: Places): Promise<Uint8Array> {
  const { width, height, channels } = picture;
  const drawn = new Uint8Array(width * height * 3);
  for (let place = 0; place < width * height; place += 1) {
    const value = data[place]!;
    const colour = value < 0 ? undefined : classColour(value);
    for (let c = 0; c < 3; c += 1) {
      const seen = picture.data[place * channels + c]!;
      const share = channels === 4 ? picture.data[place * 4 + 3]! / 255 : 1;
      const under = 255 + (seen - 255) * share;
      drawn[place * 3 + c] = Math.round(colour ? under + (colour[c]! - under) * opacity : under);
    }
  }
  return await sharp(drawn, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/**
 * A distinct colour for each of 255 classes: the bits of the number spread over red, green and blue, as in PASCAL VOC.
 */
export function classColour(number: number): Rgb {
  const colour = [0, 0, 0];
  for (let bits = number + 1, shift = 7; bits > 0; bits >>= 3, shift -= 1)
    for (let c = 0; c < 3; c += 1) colour[c]! |= ((bits >> c) & 1) << Math.max(0, shift);
  return colour as unknown as Rgb;
}
