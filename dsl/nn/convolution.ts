/** Convolutions and pooling over feature maps, as contractions and reductions of windows. */
import type { Distribution } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import {
  type AnyTensor,
  broadcast,
  constant,
  div,
  mean,
  pad,
  reduceMax,
  type Tensor,
  typed,
  window,
} from "../tensor.ts";
import { axisOf } from "./axes.ts";
import { productOfWindows } from "./window-products.ts";

/** A feature map: `row` and `column`, and any other axes. */
export type FeatureMap<A extends string> = Tensor<A | "row" | "column">;

/** One number for rows and columns, or one for each. */
export type PerSide = number | readonly [row: number, column: number];

/** Options of `convolution`, in pixels of the map. */
export interface ConvolutionOptions {
  /** Rows and columns of the kernel. */
  readonly kernel: PerSide;
  /** Pixels between windows; default 1. */
  readonly stride?: PerSide;
  /** Pixels between elements of the kernel; default 1. */
  readonly dilation?: PerSide;
  /**
   * Zero padding: a number, or [rows, columns], the same before and after; or [before, after] for rows and for columns.
   * Default: half the kernel's extent on each side, so that an odd kernel of stride 1 keeps the map's size.
   */
  readonly padding?: PerSide | readonly [row: readonly [number, number], column: readonly [number, number]];
  /** Groups of channels, convolved separately; as many as channels make it depthwise. Default 1. */
  readonly groups?: number;
  readonly bias?: boolean;
  readonly init?: Distribution;
}

const convolutionOptions = {
  kernel: true,
  stride: true,
  dilation: true,
  padding: true,
  groups: true,
  bias: true,
  init: true,
} as const;

/** Kernel, stride, dilation and padding along one side of the map. */
function alongSide({ kernel, stride = 1, dilation = 1, padding }: ConvolutionOptions, side: 0 | 1) {
  const of = (x: PerSide): number => (typeof x === "number" ? x : x[side]);
  const margin = typeof padding === "object" ? padding[side] : padding;
  const half = Math.floor(((of(kernel) - 1) * of(dilation)) / 2);
  const [low, high] = typeof margin === "object" ? margin : [margin ?? half, margin ?? half];
  return { size: of(kernel), stride: of(stride), dilation: of(dilation), low, high };
}

/** Windows along both sides of a map: [..., row, kernel_row, column, kernel_column]. */
function windowsOf(x: AnyTensor, options: ConvolutionOptions, around = 0) {
  let windows = x;
  const kernels = (["row", "column"] as const).map((name, side) => {
    const { size, stride, dilation, low, high } = alongSide(options, side as 0 | 1);
    const kernel = axis(`kernel_${name}`, size);
    const padded = pad(windows, axisOf(windows, name), low, high, around);
    windows = window(padded, axisOf(padded, name), name, kernel, stride, dilation);
    return kernel;
  });
  return { windows, kernels };
}

/**
 * A convolution. x [..., from, row, column] -> [..., row, column, to]. Parameters `weight` [to, kernel_row,
 * kernel_column, from] and `bias` [to]: channels are innermost, as they are in the map that a convolution outputs. With
 * groups, `from` and `to` list their channels group by group, and `weight` is [group, to_of_group, kernel_row,
 * kernel_column, from]. If `from` and `to` have the same name, such as "channel", the parameters without groups have
 * "channel_out" in place of `to`, as those of `linear`.
 */
export function convolution<A extends string, F extends A, T extends string>(
  p: Params,
  x: FeatureMap<A>,
  from: Axis<F>,
  to: Axis<T>,
  options: ConvolutionOptions,
): FeatureMap<Exclude<A, F> | T> {
  checkOptions("convolution", options, convolutionOptions);
  const { windows, kernels } = windowsOf(x, options);
  return typed(productOfWindows(p, windows, kernels, from, to, options));
}

/** Options of `maxPool`, in pixels of the map. */
export interface PoolingOptions extends Pick<ConvolutionOptions, "kernel" | "padding"> {
  /** Pixels between windows; default: the kernel, so that windows do not overlap. */
  readonly stride?: PerSide;
}

const poolingOptions = { kernel: true, padding: true, stride: true } as const;

/** The maximum of each window; padding never wins. x [..., row, column] -> [..., row, column] */
export function maxPool<A extends string>(x: FeatureMap<A>, options: PoolingOptions): FeatureMap<A> {
  checkOptions("maxPool", options, poolingOptions);
  const { windows, kernels } = windowsOf(
    x,
    { stride: options.kernel, padding: 0, ...options },
    Number.NEGATIVE_INFINITY,
  );
  return typed(reduceMax(windows, kernels));
}

/** Options of `averagePool`. */
export interface AveragePoolingOptions extends PoolingOptions {
  /** Whether padding counts in the mean, as in PyTorch; default true. */
  readonly countPadding?: boolean;
}

/** The mean of each window: torch.nn.AvgPool2d without `ceil_mode`. x [..., row, column] -> [..., row, column] */
export function averagePool<A extends string>(x: FeatureMap<A>, options: AveragePoolingOptions): FeatureMap<A> {
  checkOptions("averagePool", options, { ...poolingOptions, countPadding: true });
  const { countPadding = true, ...pooling } = options;
  const placed = { stride: options.kernel, padding: 0, ...pooling };
  const meanOf = (map: AnyTensor): AnyTensor => {
    const { windows, kernels } = windowsOf(map, placed);
    return mean(windows, kernels);
  };
  if (countPadding) return typed(meanOf(x));
  const sides = [axisOf(x, "row"), axisOf(x, "column")];
  return typed(div(meanOf(x), meanOf(broadcast(constant(1), sides)))); // by the fraction of the window inside the map
}

/**
 * Max pooling of 2 × 2 pixels with stride 2; an odd last row or column is dropped. x [..., row, column] -> half of each
 */
export const maxPool2x2 = <A extends string>(x: FeatureMap<A>): FeatureMap<A> => maxPool(x, { kernel: 2 });
