/** Convolutions and poolings over maps, as contractions and reductions of windows. */
import { type Distribution, truncatedNormal, zeros } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, add, merge, pad, reduceMax, type Tensor, typed, window } from "../tensor.ts";
import { axisOf } from "./axes.ts";
import { linear } from "./linear.ts";

/** A map: any axes, and `row` and `column` among them. */
export type FeatureMap<A extends string> = Tensor<A | "row" | "column">;

export interface ConvolutionOptions {
  /** Rows and columns of the kernel, odd; the map keeps its size. */
  readonly kernel: number;
  readonly bias?: boolean;
  readonly init?: Distribution;
}

/**
 * A convolution that keeps the map's size, zeros around it. x [..., from, row, column] -> [..., to, row, column].
 * Parameters `weight` [to, from, kernel_row, kernel_column] and `bias` [to].
 */
export function convolution<A extends string, F extends A, T extends string>(
  p: Params,
  x: FeatureMap<A>,
  from: Axis<F>,
  to: Axis<T>,
  options: ConvolutionOptions,
): FeatureMap<Exclude<A, F> | T> {
  const margin = (options.kernel - 1) / 2;
  let windows: AnyTensor = x;
  const kernels = (["row", "column"] as const).map((name) => {
    const kernel = axis(`kernel_${name}`, options.kernel);
    windows = window(pad(windows, axisOf(windows, name), margin, margin), axisOf(windows, name), name, kernel);
    return kernel;
  });
  const { bias = true, init = truncatedNormal(0.02) } = options;
  return typed(linear<string, string, string>(p, windows, [from, ...kernels], [to], { bias, init }));
}

/**
 * A transposed convolution of kernel 2 and stride 2: every place becomes four. x [..., from, row, column] -> [..., to, 2 row,
 * 2 column]. Parameters `weight` [to, kernel_row, kernel_column, from] and `bias` [to].
 */
export function transposedConvolution2x2<A extends string, F extends A, T extends string>(
  p: Params,
  x: FeatureMap<A>,
  from: Axis<F>,
  to: Axis<T>,
): FeatureMap<Exclude<A, F> | T> {
  const [inRow, inColumn] = [axis("kernel_row", 2), axis("kernel_column", 2)];
  const [row, column] = [axisOf(x, "row"), axisOf(x, "column")] as const;
  const four: AnyTensor = linear<string, string, string>(p, x as AnyTensor, [from], [to, inRow, inColumn], {
    bias: false,
  });
  const apart = merge(merge(four, [row, inRow], row), [column, inColumn], column);
  return typed(add(apart, p.parameter("bias", [to], zeros)));
}

/** Max pooling of 2 × 2 places with stride 2; an odd last row or column is left out. x [..., row, column] -> half of each */
export function maxPool2x2<A extends string>(x: FeatureMap<A>): FeatureMap<A> {
  const [inRow, inColumn] = [axis("kernel_row", 2), axis("kernel_column", 2)];
  let windows: AnyTensor = x;
  windows = window(windows, axisOf(windows, "row"), "row", inRow, 2);
  windows = window(windows, axisOf(windows, "column"), "column", inColumn, 2);
  return typed(reduceMax(windows, [inRow, inColumn]));
}
