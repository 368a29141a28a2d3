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
      const line = narrowed.subarray(row * toWidth, (row + 1) * toWidth);
      if (columns) weighColumns(line, plane.subarray(start, start + window.width), columns);
      else line.set(plane.subarray(start, start + toWidth));
    }
    return clamp(rows ? weighRows(narrowed, toWidth, toHeight, rows) : narrowed.slice());
  };
}

/** For each output place the first input it reads and the weights of `count` inputs from there on. */
interface Taps {
  readonly count: number;
  readonly first: Int32Array;
  readonly weights: Float32Array; // [place, tap]
}

function weighColumns(out: Float32Array, line: Float32Array, { count, first, weights }: Taps): void {
  for (let column = 0; column < out.length; column += 1) {
    const start = first[column]!;
    let sum = 0;
    for (let tap = 0; tap < count; tap += 1) sum += line[start + tap]! * weights[column * count + tap]!;
    out[column] = sum;
  }
}

/** Whole rows at a time: neighbours in memory are neighbours in the sum. */
function weighRows(lines: Float32Array, width: number, height: number, { count, first, weights }: Taps): Float32Array {
  const out = new Float32Array(height * width);
  for (let row = 0; row < height; row += 1) {
    const at = row * width;
    for (let tap = 0; tap < count; tap += 1) {
      const weight = weights[row * count + tap]!;
      const from = (first[row]! + tap) * width;
      for (let column = 0; column < width; column += 1) out[at + column]! += lines[from + column]! * weight;
    }
  }
  return out;
}

/** Undefined where nothing is to be done. Places near an edge read fewer inputs; their unused weights are 0. */
function tapsFor(length: number, size: number): Taps | undefined {
  if (length === size) return undefined;
  const scale = length / size;
  const stretch = Math.max(1, scale); // the kernel widens when shrinking, which is what keeps fine lines from flickering
  const count = Math.min(length, Math.ceil(4 * stretch) + 1);
  const first = new Int32Array(size);
  const weights = new Float32Array(size * count);
  for (let place = 0; place < size; place += 1) {
    const centre = (place + 0.5) * scale;
    const start = Math.max(0, Math.floor(centre - 2 * stretch + 0.5));
    const end = Math.min(length, Math.floor(centre + 2 * stretch + 0.5));
    first[place] = Math.min(start, length - count); // all `count` inputs exist
    let total = 0;
    for (let i = start; i < end; i += 1) total += cubic((i - centre + 0.5) / stretch);
    for (let i = start; i < end; i += 1) {
      weights[place * count + i - first[place]!] = cubic((i - centre + 0.5) / stretch) / total;
    }
  }
  return { count, first, weights };
}

/** In place: the kernel's negative lobes overshoot at edges. */
function clamp(values: Float32Array): Float32Array {
  for (let i = 0; i < values.length; i += 1) values[i] = Math.min(255, Math.max(0, values[i]!));
  return values;
}

/** Keys' cubic convolution kernel with a = -0.5 (Keys 1981, equation 15). */
function cubic(signed: number): number {
  const x = Math.abs(signed);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}
