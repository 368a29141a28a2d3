/** Dropout. */
import type { Axis } from "../axis.ts";
import type { Params } from "../params.ts";
import { mul, type Tensor } from "../tensor.ts";

/**
 * In training, zeroes x with probability `rate`, sampled independently along the given axes and shared along the
 * others, and scales what is kept by 1/(1 − rate). Srivastava et al. 2014. To drop whole channels, give batch and
 * channel.
 */
export function dropout<A extends string, K extends A>(
  p: Params,
  x: Tensor<A>,
  axes: readonly Axis<K>[],
  rate: number,
): Tensor<A> {
  if (!p.training || rate === 0) return x;
  return mul(x, mul(p.bernoulli("dropout", axes, 1 - rate), 1 / (1 - rate))) as Tensor<A>;
}
