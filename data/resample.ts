/** Bicubic resizing of float planes, for pictures that are already decoded. */

/** A rectangle of a picture, in whole pixels. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Resizes one window of planes [row, column] of `width` columns to `toWidth` x `toHeight`, clamped to [0, 255].
 * Catmull-Rom widened when shrinking, edges renormalized: Pillow's BICUBIC (Resample.c, a = -0.5), without its rounding
 * between the passes. A side that keeps its size is copied.
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
      for (let column = 0; column < toWidth; column += 1) {
        narrowed[row * toWidth + column] = weigh(plane, start, 1, columns[column]!);
      }
    }
    const out = new Float32Array(toHeight * toWidth);
    for (let row = 0; row < toHeight; row += 1) {
      for (let column = 0; column < toWidth; column += 1) {
        const value = weigh(narrowed, column, toWidth, rows[row]!);
        out[row * toWidth + column] = Math.min(255, Math.max(0, value)); // the kernel's lobes overshoot at edges
      }
    }
    return out;
  };
}

interface Taps {
  readonly first: number;
  readonly weights: Float32Array;
}

function weigh(values: Float32Array, start: number, stride: number, { first, weights }: Taps): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i += 1) sum += values[start + (first + i) * stride]! * weights[i]!;
  return sum;
}

function tapsFor(length: number, size: number): readonly Taps[] {
  const scale = length / size;
  const stretch = Math.max(1, scale); // the kernel widens when shrinking, which is what keeps fine lines from flickering
  return Array.from({ length: size }, (_, i) => {
    if (length === size) return { first: i, weights: Float32Array.of(1) };
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - 2 * stretch + 0.5));
    const last = Math.min(length, Math.floor(centre + 2 * stretch + 0.5));
    const weights = Float32Array.from({ length: last - first }, (_, j) => cubic((first + j - centre + 0.5) / stretch));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

/** Keys' cubic convolution kernel with a = -0.5 (Keys 1981, equation 15). */
function cubic(signed: number): number {
  const x = Math.abs(signed);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}
