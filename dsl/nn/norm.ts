/** Normalization layers with their learned scales. */
import { ones, ops, zeros } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import { broadcast, constant, type Tensor, typed } from "../tensor.ts";

/** Options of `rmsNorm`. */
export interface RmsNormOptions {
  /** Default 1e-6. */
  readonly epsilon?: number;
  /** False leaves the learned scale out. */
  readonly scale?: boolean;
}

/** Options of `layerNorm`. */
export interface LayerNormOptions {
  /** Default 1e-5. */
  readonly epsilon?: number;
  /** False leaves out the learned scale, and the bias unless `bias` is true. */
  readonly scale?: boolean;
  /** False leaves the learned bias out. */
  readonly bias?: boolean;
}

const namesOf = (over: readonly Axis[]): string[] => over.map((a) => a.name);

/** A constant in place of a learned scale or bias. */
const fixed = <K extends string>(value: number, over: readonly Axis<K>[]): Tensor<K> =>
  broadcast(constant(value), over);

/**
 * x / rms(x) · weight over the given axes. Zhang, Sennrich 2019. Parameter `weight` [over...]. A number as options is
 * the epsilon.
 */
export function rmsNorm<A extends string, K extends A>(
  p: Params,
  x: Tensor<A>,
  over: readonly Axis<K>[],
  options: number | RmsNormOptions = {},
): Tensor<A> {
  const given = typeof options === "number" ? { epsilon: options } : options;
  checkOptions("rmsNorm", given, { epsilon: true, scale: true });
  const { epsilon = 1e-6, scale = true } = given;
  const weight = scale ? p.parameter("weight", over, ones) : fixed(1, over);
  return typed(ops.rmsNorm(x, weight, namesOf(over), epsilon));
}

/**
 * (x − mean) / std · weight + bias over the given axes. Ba et al. 2016. Parameters `weight`, `bias` [over...]. A number
 * as options is the epsilon.
 */
export function layerNorm<A extends string, K extends A>(
  p: Params,
  x: Tensor<A>,
  over: readonly Axis<K>[],
  options: number | LayerNormOptions = {},
): Tensor<A> {
  const given = typeof options === "number" ? { epsilon: options } : options;
  checkOptions("layerNorm", given, { epsilon: true, scale: true, bias: true });
  const { epsilon = 1e-5, scale = true, bias = scale } = given;
  const weight = scale ? p.parameter("weight", over, ones) : fixed(1, over);
  const shift = bias ? p.parameter("bias", over, zeros) : fixed(0, over);
  return typed(ops.layerNorm(x, weight, shift, namesOf(over), epsilon));
}
