/** Sizes of images, as models, stages and data readers declare them. */
import { UsageError } from "../diagnostics/error.ts";
import { shown } from "../diagnostics/shown.ts";

/** Height and width in pixels, the order of the axes row and column; one number is a square. */
export type ImageSize = number | readonly [height: number, width: number];

/** Width and height in pixels. */
export interface Sides {
  readonly width: number;
  readonly height: number;
}

/** The sides of an image of a size. */
export function sidesOf(size: ImageSize): Sides {
  const [height, width] = typeof size === "number" ? [size, size] : size;
  return { width, height };
}

/** The shortest form of a size: one number for a square. */
export const sizeOfSides = ({ width, height }: Sides): ImageSize => (width === height ? width : [height, width]);

/** The sides times `by`, each rounded to whole pixels. */
export function scaledSize(size: ImageSize, by: number): ImageSize {
  const { width, height } = sidesOf(size);
  return sizeOfSides({ width: Math.round(by * width), height: Math.round(by * height) });
}

/** "384 × 128": height × width. */
export function sizeText(size: ImageSize): string {
  const { width, height } = sidesOf(size);
  return `${height} × ${width}`;
}

/** Throws UsageError unless a size is one or two whole numbers from 1 to `most`. */
export function requireImageSize(size: ImageSize, most = Number.POSITIVE_INFINITY): void {
  const numbers: readonly unknown[] = Array.isArray(size) && size.length === 2 ? size : [size];
  if (numbers.every((n) => typeof n === "number" && Number.isInteger(n) && n >= 1 && n <= most)) return;
  const range = most < Number.POSITIVE_INFINITY ? ` from 1 to ${most}` : "";
  throw new UsageError(
    `the image size must be a whole number of pixels${range}, or two, [height, width]; got ${shown(size)}`,
  );
}

/** The side of a square. Throws UsageError for another size, which `what` does not support. */
export function squareSide(size: ImageSize, what: string): number {
  const { width, height } = sidesOf(size);
  if (width === height) return width;
  throw new UsageError(`${what} needs square images, but these are ${sizeText(size)} (height × width)`);
}
