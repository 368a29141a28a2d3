/** Normalization layers with their learned scales. */
import { ones, ops, zeros } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import type { Params } from "../params.ts";
import { type Tensor, typed } from "../tensor.ts";

/** x / rms(x) · weight over the axes given. Zhang, Sennrich 2019. Parameter `weight` [over...]. */
export const rmsNorm = <A extends string, K extends A>(
  p: Params,
  x: Tensor<A>,
  over: readonly Axis<K>[],
  epsilon = 1e-6,
): Tensor<A> =>
  typed(
    ops.rmsNorm(
      x,
      p.parameter("weight", over, ones),
      over.map((a) => a.name),
      epsilon,
    ),
  );

/** (x − mean) / std · weight + bias over the axes given. Ba et al. 2016. Parameters `weight`, `bias` [over...]. */
export function layerNorm<A extends string, K extends A>(
  p: Params,
  x: Tensor<A>,
  over: readonly Axis<K>[],
  epsilon = 1e-5,
): Tensor<A> {
  const weight = p.parameter("weight", over, ones);
  const bias = p.parameter("bias", over, zeros);
  return typed(
    ops.layerNorm(
      x,
      weight,
      bias,
      over.map((a) => a.name),
      epsilon,
    ),
  );
}
