/**
 * Resizing of feature maps: every output sample is a linear combination of input samples along each axis, of constant
 * weights where both sizes are known. Where one is symbolic, interpolated samples are gathered.
 */
import { type Dim, UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import {
  type AnyTensor,
  add,
  cast,
  contract,
  div,
  floor,
  gather,
  iota,
  max,
  min,
  mul,
  rename,
  sizeOf,
  sub,
  table,
  typed,
} from "../tensor.ts";
import { axisOf } from "./axes.ts";
import type { FeatureMap } from "./convolution.ts";

/**
 * How a side is resized: `bilinear`, `alignedBilinear`, `bicubic`, `antialiasedBicubic`, `adaptiveAverage`, or a
 * function of two sizes.
 */
export interface ResizeWeights {
  /** Row-major [to, from]: the weight of each input sample in each output sample. */
  (from: number, to: number): number[];
  /** How samples are interpolated; only then may sizes be symbolic. */
  readonly interpolation?: Interpolation;
}

/** By tap, an offset from the last sample at or before an output sample: its weight as a polynomial of its distance. */
type Interpolation = ReadonlyMap<number, Coefficients>;

/** Of a polynomial; the constant comes first. */
type Coefficients = readonly [number, number, ...number[]];

/**
 * x [..., row, column] -> [..., rows, columns]. With `bilinear` and `bicubic` as torch.nn.functional.interpolate with
 * align_corners = false, with `alignedBilinear` as with align_corners = true, with `adaptiveAverage` as
 * torch.nn.AdaptiveAvgPool2d. With `bilinear` and `bicubic` the sizes of x, and those that it gets, may be symbolic.
 */
export function resize<A extends string>(
  x: FeatureMap<A>,
  rows: Dim,
  columns: Dim,
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
    const mixed: AnyTensor =
      typeof old.size === "number" && typeof size === "number"
        ? contract(table(weights(old.size, size), [fresh, old]), result, old)
        : interpolated(result, old, fresh, weights);
    result = rename(mixed, fresh, axis(name, size));
  }
  return typed(result);
}

/** Samples between those of x along an axis, of which one size or both are symbolic. */
function interpolated(x: AnyTensor, from: Axis, to: Axis, { interpolation }: ResizeWeights): AnyTensor {
  if (!interpolation)
    throw new UsageError(
      `cannot resize axis "${from.name}" from ${from.size} to ${to.size}: this mode needs numeric sizes; bilinear and bicubic take symbolic ones`,
    );
  const place = mul(add(cast(iota(to), "f32"), 0.5), div(sizeOf(from), sizeOf(to)));
  const center: AnyTensor = sub(place, 0.5);
  const base = floor(center);
  const parts = [...interpolation].map(([tap, coefficients]) => {
    const sample = min(max(add(cast(base, "i32"), tap), 0), sub(sizeOf(from, "i32"), 1));
    const distance: AnyTensor = tap > 0 ? sub(add(base, tap), center) : sub(center, add(base, tap));
    return mul(gather(x, sample, from), cast(polynomial(coefficients, distance), x.type.dtype));
  });
  return parts.reduce((a, b) => add(a, b));
}

function polynomial(coefficients: Coefficients, x: AnyTensor): AnyTensor {
  const [highest, next, ...rest] = [...coefficients].reverse() as unknown as Coefficients;
  return rest.reduce<AnyTensor>((sum, c) => add(mul(sum, x), c), add(mul(highest, x), next));
}

/** Weights that interpolate between samples; edge samples are repeated. */
function interpolating(interpolation: Interpolation): ResizeWeights {
  const weights = (from: number, to: number): number[] => {
    const all = new Array<number>(to * from).fill(0);
    for (let i = 0; i < to; i++) {
      const center = ((i + 0.5) * from) / to - 0.5;
      const base = Math.floor(center);
      for (const [tap, coefficients] of interpolation) {
        const source = Math.min(from - 1, Math.max(0, base + tap));
        all[i * from + source]! += polynomialAt(coefficients, Math.abs(center - (base + tap)));
      }
    }
    return all;
  };
  return Object.assign(weights, { interpolation });
}

const polynomialAt = (coefficients: Coefficients, x: number): number =>
  coefficients.reduceRight((sum, c) => sum * x + c, 0);

/** The piece of Keys' cubic kernel within one sample, and that between one and two. */
const near = (a: number): Coefficients => [1, 0, -(a + 3), a + 2];
const far = (a: number): Coefficients => [-4 * a, 8 * a, -5 * a, a];

/** Linear interpolation between two neighbours, clamped at the edges. */
export const bilinear: ResizeWeights = interpolating(
  new Map([
    [0, [1, -1]],
    [1, [1, -1]],
  ]),
);

/** Linear interpolation where the first and last samples stay at the ends: align_corners = true. */
export const alignedBilinear: ResizeWeights = (from, to) => {
  const weights = new Array<number>(to * from).fill(0);
  for (let i = 0; i < to; i++) {
    const place = to === 1 ? 0 : (i * (from - 1)) / (to - 1);
    const base = Math.min(from - 1, Math.floor(place));
    weights[i * from + base]! += 1 - (place - base);
    if (base + 1 < from) weights[i * from + base + 1]! += place - base;
  }
  return weights;
};

/** Cubic convolution over four neighbours, clamped at the edges: Keys 1981, with A = −0.75, as PyTorch's. */
export const bicubic: ResizeWeights = interpolating(
  new Map([
    [-1, far(-0.75)],
    [0, near(-0.75)],
    [1, near(-0.75)],
    [2, far(-0.75)],
  ]),
);

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

const cubic = (x: number, a: number): number => (x < 2 ? polynomialAt(x <= 1 ? near(a) : far(a), x) : 0);

/** The mean of the input samples that each output sample covers, in whole or in part. */
export const adaptiveAverage: ResizeWeights = (from, to) => {
  const weights = new Array<number>(to * from).fill(0);
  for (let i = 0; i < to; i++) {
    const [first, end] = [Math.floor((i * from) / to), Math.ceil(((i + 1) * from) / to)];
    for (let j = first; j < end; j++) weights[i * from + j] = 1 / (end - first);
  }
  return weights;
};
