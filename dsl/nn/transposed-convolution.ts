/** Transposed convolutions, which enlarge feature maps by learned kernels. */
import { addDims, type Dim, divideDims, mulDims, UsageError, zeros } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, add, merge, rename, transposedWindow, typed } from "../tensor.ts";
import { axisOf } from "./axes.ts";
import type { ConvolutionOptions, FeatureMap, PerSide } from "./convolution.ts";
import { fanIn, linear } from "./linear.ts";
import { productOfWindows } from "./window-products.ts";

/** Options of `transposedConvolution`, as those of torch.nn.ConvTranspose2d, in pixels. */
export interface TransposedConvolutionOptions extends Omit<ConvolutionOptions, "padding"> {
  /** Pixels cropped from each end of a side of the result; default 0. */
  readonly padding?: PerSide;
  /** Pixels that the result has beyond those at its end; default 0. */
  readonly outputPadding?: PerSide;
}

const transposedOptions = {
  kernel: true,
  stride: true,
  dilation: true,
  padding: true,
  outputPadding: true,
  groups: true,
  bias: true,
  init: true,
} as const;

/** How the kernel is laid along one side of the map. */
interface Laid {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly padding: number;
  readonly outputPadding: number;
}

function alongSide(options: TransposedConvolutionOptions, side: 0 | 1): Laid {
  const of = (x: PerSide): number => (typeof x === "number" ? x : x[side]);
  const { kernel, stride = 1, dilation = 1, padding = 0, outputPadding = 0 } = options;
  const laid = { kernel: of(kernel), stride: of(stride), dilation: of(dilation), padding: of(padding) };
  return { ...laid, outputPadding: of(outputPadding) };
}

/** Whether every pixel becomes a tile of its own. */
const isTiling = ({ kernel, stride, dilation, padding, outputPadding }: Laid): boolean =>
  kernel === stride && dilation === 1 && padding === 0 && outputPadding === 0;

/**
 * A transposed convolution: torch.nn.ConvTranspose2d. x [..., from, row, column] -> [..., row, column, to], whose rows
 * are (row − 1) · stride − 2 · padding + dilation · (kernel − 1) + outputPadding + 1. Parameters `weight` [to,
 * kernel_row, kernel_column, from] and `bias` [to]; with groups, and with one name for `from` and `to`, as those of
 * `convolution`. Throws UsageError for an unknown option, and if nothing is left of a side.
 */
export function transposedConvolution<A extends string, F extends A, T extends string>(
  p: Params,
  x: FeatureMap<A>,
  from: Axis<F>,
  to: Axis<T>,
  options: TransposedConvolutionOptions,
): FeatureMap<Exclude<A, F> | T> {
  checkOptions("transposedConvolution", options, transposedOptions);
  const laid = { row: alongSide(options, 0), column: alongSide(options, 1) };
  if (isTiling(laid.row) && isTiling(laid.column) && (options.groups ?? 1) === 1)
    return typed(tiles(p, x, from, to, options, [laid.row.kernel, laid.column.kernel]));
  let windows: AnyTensor = x;
  const kernels = (["row", "column"] as const).map((name) => {
    const kernel = axis(`kernel_${name}`, laid[name].kernel);
    windows = enlarged(windows, name, kernel, laid[name]);
    return kernel;
  });
  const init = options.init ?? fanIn([channelsRead(from, options)]);
  return typed(productOfWindows(p, windows, kernels, from, to, { ...options, init }));
}

/**
 * The channels that one of the result reads: those of its group. An uneven division is refused where the weight is
 * made.
 */
const channelsRead = (from: Axis, { groups = 1 }: TransposedConvolutionOptions): Axis =>
  axis(from.name, divideDims(from.size, groups) ?? from.size);

/** What each pixel of the result reads of x along a side: [..., side] -> [..., side, kernel] */
function enlarged(x: AnyTensor, name: string, kernel: Axis, laid: Laid): AnyTensor {
  const { stride, dilation, padding: low } = laid;
  const side = axisOf(x, name);
  const into = axis(`wide_${name}`, lengthOf(side.size, laid, name));
  return rename(transposedWindow(x, side, into, kernel, { stride, dilation, low }), into, axis(name, into.size));
}

function lengthOf(size: Dim, { kernel, stride, dilation, padding, outputPadding }: Laid, name: string): Dim {
  const whole = addDims(mulDims(size, stride), dilation * (kernel - 1) + 1 - stride);
  const length = addDims(whole, outputPadding - 2 * padding);
  if (typeof length !== "number" || length > 0) return length;
  throw new UsageError(
    `transposedConvolution with padding ${padding} leaves ${length} pixels of axis "${name}": a side of ${whole} is cropped at both ends`,
  );
}

/** Tiles that do not overlap: one product, and no windows. */
function tiles(
  p: Params,
  x: AnyTensor,
  from: Axis,
  to: Axis,
  { bias = true, init }: TransposedConvolutionOptions,
  [rows, columns]: readonly [number, number],
): AnyTensor {
  const [inRow, inColumn] = [axis("kernel_row", rows), axis("kernel_column", columns)];
  const [row, column] = [axisOf(x, "row"), axisOf(x, "column")];
  const made: AnyTensor = linear<string, string, string>(p, x, [from], [to, inRow, inColumn], {
    bias: false,
    ...(init && { init }),
  });
  const apart = merge(merge(made, [row, inRow], row), [column, inColumn], column);
  if (!bias) return apart;
  const own = from.name === to.name ? axis(`${to.name}_out`, to.size) : to; // as `linear` calls it
  return add(apart, rename(p.parameter("bias", [own], zeros) as AnyTensor, own, to));
}
