/** Bicubic resizing of float planes, for images that are already decoded. */
import { type Taps, tapsFor } from "./resample-kernels.ts";

/** A rectangle of an image, in whole pixels. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Resizes a window of planes [row, column] with `width` columns to `toWidth` x `toHeight`, clamped to [0, 255].
 * Catmull-Rom, widened when shrinking, with edges renormalized: Pillow's BICUBIC (Resample.c, a = -0.5), without its
 * rounding between the passes. An unchanged side is copied.
 */
export function resampler(
  width: number,
  window: Window,
  toWidth: number,
  toHeight: number,
): (plane: Float32Array) => Float32Array {
  const columns = tapsFor(window.width, toWidth);
  const rows = tapsFor(window.height, toHeight);
  const narrowed = new Float32Array(window.height * toWidth); // [row of window, column]
  return (plane) => {
    for (let row = 0; row < window.height; row += 1) {
      const start = (window.top + row) * width + window.left;
      const line = narrowed.subarray(row * toWidth, (row + 1) * toWidth);
      if (columns) weighColumns(line, plane.subarray(start, start + window.width), columns);
      else line.set(plane.subarray(start, start + toWidth));
    }
    return clamp(rows ? weighRows(narrowed, toWidth, toHeight, rows) : narrowed.slice());
  };
}

function weighColumns(out: Float32Array, line: Float32Array, { first, counts, most, weights }: Taps): void {
  for (let column = 0; column < out.length; column += 1) {
    const [start, count] = [first[column]!, counts[column]!];
    let sum = 0;
    for (let tap = 0; tap < count; tap += 1) sum += line[start + tap]! * weights[column * most + tap]!;
    out[column] = sum;
  }
}

/** Row-wise, for contiguous memory access. */
function weighRows(lines: Float32Array, width: number, height: number, taps: Taps): Float32Array {
  const { first, counts, most, weights } = taps;
  const out = new Float32Array(height * width);
  for (let row = 0; row < height; row += 1) {
    const at = row * width;
    for (let tap = 0; tap < counts[row]!; tap += 1) {
      const weight = weights[row * most + tap]!;
      const from = (first[row]! + tap) * width;
      for (let column = 0; column < width; column += 1) out[at + column]! += lines[from + column]! * weight;
    }
  }
  return out;
}

/** In place: the kernel's negative lobes overshoot at edges. */
function clamp(values: Float32Array): Float32Array {
  for (let i = 0; i < values.length; i += 1) values[i] = Math.min(255, Math.max(0, values[i]!));
  return values;
}
