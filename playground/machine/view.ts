/** Images as model input: a window, resized and normalized. */
import { imagenetPreprocessing, type Preprocessing } from "../../dsl/index.ts";
import type { Picture } from "./emoji.ts";
import { side } from "./packed-emoji.ts";

/** A square window of an image, in pixels; beyond the image, everything is white. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly size: number;
}

export const wholePicture: Window = { left: 0, top: 0, size: side };

/**
 * Writes planes [channel, row, column] of `size` by `size` to `out` from `at` on: each pixel is the mean of four
 * bilinear samples.
 */
export function writeView(
  out: Float32Array,
  at: number,
  picture: Picture,
  window: Window,
  size: number,
  { mean, std, channelOrder }: Preprocessing = imagenetPreprocessing,
): void {
  const step = window.size / size;
  for (let channel = 0; channel < 3; channel++) {
    const plane = picture.subarray(channel * side * side, (channel + 1) * side * side);
    const place = channelOrder === "bgr" ? 2 - channel : channel;
    for (let row = 0; row < size; row++)
      for (let column = 0; column < size; column++) {
        const [y, x] = [window.top + row * step, window.left + column * step];
        const value =
          (sample(plane, y + step / 4, x + step / 4) +
            sample(plane, y + step / 4, x + (3 * step) / 4) +
            sample(plane, y + (3 * step) / 4, x + step / 4) +
            sample(plane, y + (3 * step) / 4, x + (3 * step) / 4)) /
          4;
        out[at + (place * size + row) * size + column] = (value - mean[channel]!) / std[channel]!;
      }
  }
}

/** Bilinear interpolation at a position in pixels. */
function sample(plane: Float32Array, y: number, x: number): number {
  const [row, column] = [Math.floor(y - 0.5), Math.floor(x - 0.5)];
  const [down, right] = [y - 0.5 - row, x - 0.5 - column];
  const above = pixel(plane, row, column) * (1 - right) + pixel(plane, row, column + 1) * right;
  const below = pixel(plane, row + 1, column) * (1 - right) + pixel(plane, row + 1, column + 1) * right;
  return above * (1 - down) + below * down;
}

const pixel = (plane: Float32Array, row: number, column: number): number =>
  row < 0 || column < 0 || row >= side || column >= side ? 1 : plane[row * side + column]!;
