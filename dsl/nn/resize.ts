/**
 * Resizing of feature maps by constant weights: every output sample is a fixed linear combination of input samples
 * along each axis.
 */
import { axis } from "../axis.ts";
import { type AnyTensor, contract, rename, table, typed } from "../tensor.ts";
import { axisOf } from "./axes.ts";
import type { FeatureMap } from "./convolution.ts";

/** Row-major [to, from]: the weight of each input sample in each output sample. */
export type ResizeWeights = (from: number, to: number) => number[];

/**
 * x [..., row, column] -> [..., rows, columns]. With `bilinear` and `bicubic` as torch.nn.functional.interpolate with
 * align_corners = false, with `adaptiveAverage` as torch.nn.AdaptiveAvgPool2d.
 */
export function resize<A extends string>(
  x: FeatureMap<A>,
  rows: number,
  columns: number,
  weights: ResizeWeights,
): FeatureMap<A> {
  let result: AnyTensor = x;
  for (const [name, size] of [
    ["row", rows],
    ["column", columns],
  ] as const) {
    const old = axisOf(result, name);
    if (old.size === size && weights !== adaptiveAverage) continue;
    const fresh = axis(`new_${name}`, size);
    const mixture: AnyTensor = table(weights(old.size as number, size), [fresh, old]);
    result = rename(contract(mixture, result, old), fresh, axis(name, size));
  }
  return typed(result);
}

/** Weights of an interpolation kernel centred on each output sample; edge samples are repeated. */
function kernelWeights(from: number, to: number, taps: readonly number[], kernel: (d: number) => number): number[] {
  const weights = new Array<number>(to * from).fill(0);
  for (let i = 0; i < to; i++) {
    const center = ((i + 0.5) * from) / to - 0.5;
    const base = Math.floor(center);
    for (const tap of taps) {
      const source = Math.min(from - 1, Math.max(0, base + tap));
      weights[i * from + source]! += kernel(Math.abs(center - (base + tap)));
    }
  }
  return weights;
}

/** Linear interpolation between two neighbours, clamped at the edges. */
export const bilinear: ResizeWeights = (from, to) => kernelWeights(from, to, [0, 1], (d) => Math.max(0, 1 - d));

/** Keys 1981, with A = −0.75. */
export const bicubic: ResizeWeights = (from, to) => kernelWeights(from, to, [-1, 0, 1, 2], (d) => cubic(d));

/**
 * Keys 1981, with A = −0.5, widened to the input samples that an output sample covers: `antialias = true` of
 * torch.nn.functional.interpolate. Weights outside the input are dropped and the rest renormalized.
 */
export const antialiasedBicubic: ResizeWeights = (from, to) => {
  const weights = new Array<number>(to * from).fill(0);
  const [step, spread] = [from / to, Math.max(1, from / to)];
  for (let i = 0; i < to; i++) {
    const center = (i + 0.5) * step;
    const row = Array.from({ length: from }, (_, j) => cubic(Math.abs(j + 0.5 - center) / spread, -0.5));
    const total = row.reduce((sum, w) => sum + w, 0);
    for (const [j, w] of row.entries()) weights[i * from + j] = w / total;
  }
  return weights;
};

function cubic(x: number, a = -0.75): number {
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

/** The mean of the input samples that each output sample covers, in whole or in part. */
export const adaptiveAverage: ResizeWeights = (from, to) => {
  const weights = new Array<number>(to * from).fill(0);
  for (let i = 0; i < to; i++) {
    const [first, end] = [Math.floor((i * from) / to), Math.ceil(((i + 1) * from) / to)];
    for (let j = first; j < end; j++) weights[i * from + j] = 1 / (end - first);
  }
  return weights;
};
