/** Resampling kernels, and the taps of each output sample: Pillow's Resample.c, `precompute_coeffs`. */

export type Interpolation = "bilinear" | "bicubic" | "lanczos";

interface Kernel {
  /** Support radius, in samples. */
  readonly reach: number;
  readonly at: (x: number) => number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

// Operations in Pillow's order: any other rounds differently.
const kernels: Readonly<Record<Interpolation, Kernel>> = {
  bilinear: { reach: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  /** Keys 1981, equation 15, with a = −0.5. */
  bicubic: {
    reach: 2,
    at: (signed) => {
      const [a, x] = [-0.5, Math.abs(signed)];
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  lanczos: { reach: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/**
 * For each output sample, the first input sample it reads, how many from there on, and their weights, which sum to 1.
 */
export interface Taps {
  readonly first: Int32Array;
  readonly counts: Int32Array;
  /** Stride of the weights per output sample; unused ones are 0. */
  readonly most: number;
  readonly weights: Float64Array; // [place, tap]
}

/**
 * Undefined for an identity resize. Computes `places` of the output samples, default all. The kernel widens when
 * shrinking.
 */
export function tapsFor(
  length: number,
  size: number,
  interpolation: Interpolation = "bicubic",
  places: { readonly start: number; readonly count: number } = { start: 0, count: size },
): Taps | undefined {
  if (length === size && places.count === size) return undefined;
  const { reach, at } = kernels[interpolation];
  const step = length / size;
  const stretch = Math.max(1, step);
  const support = length === size ? 0.5 : reach * stretch; // an unchanged side is copied
  const most = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(places.count);
  const counts = new Int32Array(places.count);
  const weights = new Float64Array(places.count * most);
  for (let i = 0; i < places.count; i += 1) {
    const center = (places.start + i + 0.5) * step;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(length, Math.trunc(center + support + 0.5));
    let total = 0;
    for (let x = start; x < end; x += 1) {
      const weight = length === size ? 1 : at((x - center + 0.5) * (1 / stretch));
      weights[i * most + x - start] = weight;
      total += weight;
    }
    if (total !== 0) for (let t = 0; t < end - start; t += 1) weights[i * most + t]! /= total;
    first[i] = start;
    counts[i] = end - start;
  }
  return { first, counts, most, weights };
}
