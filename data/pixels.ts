/** Decoded images and in-memory operations: resizing, bit-identical to Pillow, and placing. */
import type { Window } from "./resample.ts";
import { type Interpolation, type Taps, tapsFor } from "./resample-kernels.ts";

/** Red, green and blue in 0 .. 255. */
export type Rgb = readonly [number, number, number];

/** Decoded pixels: uint8 [row, column, channel], sRGB, not premultiplied; 3 channels, or 4 with alpha. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
  readonly data: Uint8Array;
}

/** The target size, and the window of the result to compute; default all of it. */
export interface Resizing {
  readonly width: number;
  readonly height: number;
  readonly window?: Window;
  readonly interpolation?: Interpolation;
}

/**
 * Resizes like Pillow 13's Image.resize, bit-identically: separably, with 8-bit intermediates and 22-bit weights. With
 * alpha, colours are premultiplied meanwhile, so that transparent pixels do not bleed into their neighbours.
 */
export function resizePixels(pixels: Pixels, { width, height, window, interpolation }: Resizing): Pixels {
  const { left, top, ...size } = window ?? { left: 0, top: 0, width, height };
  const columns = tapsFor(pixels.width, width, interpolation, { start: left, count: size.width });
  const rows = tapsFor(pixels.height, height, interpolation, { start: top, count: size.height });
  if (!columns && !rows) return pixels;
  // If neither side changes, only a window is cropped and nothing is blended.
  const mixes = pixels.channels === 4 && (pixels.width !== width || pixels.height !== height);
  const source = mixes ? premultiplied(pixels) : pixels;
  const whole = { ...source, top: 0 };
  const across = (band: Band) => (columns ? weighColumns(band, columns) : band);
  const down = (band: Band) => (rows ? weighRows(band, rows) : band);
  const { data } = rowsFirst(pixels, width, height)
    ? across(down(whole))
    : down(across(rows ? linesRead(whole, rows) : whole));
  const result = { ...size, channels: pixels.channels, data };
  return mixes ? separated(result) : result;
}

/** Pillow's rule for which side is resized first, which affects rounding. */
const rowsFirst = (from: Pixels, width: number, height: number): boolean => {
  const fewer = from.height - height;
  return from.width !== width && fewer > 0 && fewer > 2 * (from.width - width);
};

/**
 * Composited over white, if it has alpha: 3 channels, bit-identical to Pillow's `alpha_composite`, as transformers'
 * `convert_to_rgb` calls it. Before resizing, since resized colours and alpha were rounded apart.
 */
export function overWhite(pixels: Pixels): Pixels {
  const { width, height, channels, data } = pixels;
  if (channels === 3) return pixels;
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    const alpha = data[from + 3]!;
    for (let c = 0; c < 3; c += 1) rgb[to + c] = by255(data[from + c]! * alpha + 255 * (255 - alpha));
  }
  return { width, height, channels: 3, data: rgb };
}

/** Divided by 255 and rounded, for products of two 8-bit numbers and sums up to 255 * 255. */
function by255(product: number): number {
  const shifted = product + 128;
  return ((shifted >> 8) + shifted) >> 8;
}

/** An image at a place of a larger one of a colour. */
export function placedPixels(pixels: Pixels, { width, height, left, top }: Window, [r, g, b]: Rgb): Pixels {
  if (pixels.width === width && pixels.height === height) return pixels;
  const { channels } = pixels;
  const data = new Uint8Array(width * height * channels);
  const colour = channels === 4 ? [r, g, b, 255] : [r, g, b];
  for (let i = 0; i < data.length; i += 1) data[i] = colour[i % channels]!;
  const length = pixels.width * channels;
  for (let row = 0; row < pixels.height; row += 1) {
    data.set(pixels.data.subarray(row * length, (row + 1) * length), ((top + row) * width + left) * channels);
  }
  return { width, height, channels, data };
}

/** Rows of an image, from `top` on. */
interface Band extends Pixels {
  readonly top: number;
}

/** The source rows needed for the result. */
function linesRead({ width, channels, data }: Band, { first, counts }: Taps): Band {
  const top = first[0]!;
  const end = first.at(-1)! + counts.at(-1)!;
  const row = width * channels;
  return { width, height: end - top, channels, data: data.subarray(top * row, end * row), top };
}

const bits = 22; // 32 bits less 8 for the pixel, one for overshoot, and one for the sign
const half = 1 << (bits - 1);

const fixed = (weights: Float64Array): Int32Array =>
  Int32Array.from(weights, (w) => Math.trunc((w < 0 ? -0.5 : 0.5) + w * (1 << bits)));

const clip = (sum: number): number => {
  const value = sum >> bits;
  return value < 0 ? 0 : value > 255 ? 255 : value;
};

function weighColumns(band: Band, taps: Taps): Band {
  const { width, height, channels, data } = band;
  const { first, counts, most } = taps;
  const weights = fixed(taps.weights);
  const places = first.length;
  const out = new Uint8Array(height * places * channels);
  let to = 0;
  for (let row = 0; row < height; row += 1) {
    for (let place = 0; place < places; place += 1) {
      let from = (row * width + first[place]!) * channels;
      let red = half;
      let green = half;
      let blue = half;
      let alpha = half;
      const end = place * most + counts[place]!;
      for (let tap = place * most; tap < end; tap += 1) {
        const weight = weights[tap]!;
        red += data[from]! * weight;
        green += data[from + 1]! * weight;
        blue += data[from + 2]! * weight;
        if (channels === 4) alpha += data[from + 3]! * weight;
        from += channels;
      }
      out[to] = clip(red);
      out[to + 1] = clip(green);
      out[to + 2] = clip(blue);
      if (channels === 4) out[to + 3] = clip(alpha);
      to += channels;
    }
  }
  return { ...band, width: places, data: out };
}

/** Row-wise, for contiguous memory access. */
function weighRows(band: Band, taps: Taps): Band {
  const { first, counts, most } = taps;
  const { data, top } = band;
  const length = band.width * band.channels;
  const weights = fixed(taps.weights);
  const sums = new Int32Array(length);
  const out = new Uint8Array(first.length * length);
  for (let place = 0; place < first.length; place += 1) {
    sums.fill(half);
    for (let tap = 0; tap < counts[place]!; tap += 1) {
      const weight = weights[place * most + tap]!;
      const from = (first[place]! - top + tap) * length;
      for (let i = 0; i < length; i += 1) sums[i]! += data[from + i]! * weight;
    }
    for (let i = 0; i < length; i += 1) out[place * length + i] = clip(sums[i]!);
  }
  return { ...band, height: first.length, data: out, top: 0 };
}

/** Pillow's RGBA to RGBa: each colour times alpha / 255, rounded. */
function premultiplied(pixels: Pixels): Pixels {
  const data = pixels.data.slice();
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3]!;
    for (let c = i; c < i + 3; c += 1) data[c] = by255(data[c]! * alpha);
  }
  return { ...pixels, data };
}

/** The inverse, in place: each colour times 255 / alpha, truncated as in Pillow. */
function separated(pixels: Pixels): Pixels {
  const { data } = pixels;
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3]!;
    if (alpha === 0 || alpha === 255) continue;
    for (let c = i; c < i + 3; c += 1) data[c] = Math.min(255, Math.trunc((255 * data[c]!) / alpha));
  }
  return pixels;
}
