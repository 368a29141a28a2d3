/**
 * Loss scaling: cotangents that f16 would round to 0 are lifted into its range, and gradients brought back in f32.
 * Micikevicius et al. 2018, arXiv:1710.03740, section 3.2. The scale is a state, which the compiler cannot cancel as it
 * could a number, and which a step that adapts it updates.
 */
import { add, div, ge, lt, max, min, mul, select, type Tensor } from "../tensor.ts";

export const scaledLoss = (loss: Tensor<never>, scale: Tensor<never>): Tensor<never> => mul(loss, scale);

/** The gradient of the loss itself, before anything measures or clips it. */
export const unscaled = <A extends string>(gradient: Tensor<A>, scale: Tensor<never>): Tensor<A> =>
  mul(gradient, div(1, scale)) as Tensor<A>;

/** Good steps after which the scale is doubled. */
export const growthInterval = 2000;

/** What the scale is halved down to: at 1 nothing is lifted, so that what overflows there is no matter of the scale. */
export const lowestScale = 1;
/** What it is doubled up to. */
export const highestScale = 2 ** 24;

/** True where a norm is a finite number, and so is all that it is of: no comparison with NaN is true. */
export const isFiniteNorm = (norm: Tensor<never>): Tensor<never> => lt(norm, 3e38) as Tensor<never>;

/**
 * The scale and the count of good steps after a step: halved after a gradient that is not finite, doubled after so many
 * good ones in a row, as mixed-precision training does everywhere since that paper.
 */
export function adaptedScale(scale: Tensor<never>, good: Tensor<never>, finite: Tensor<never>) {
  const counted = add(good, 1);
  const isGrown = ge(counted, growthInterval);
  const grown = select(isGrown, min(mul(scale, 2), highestScale), scale);
  return {
    scale: select(finite, grown, max(mul(scale, 0.5), lowestScale)) as Tensor<never>,
    good: select(finite, select(isGrown, 0, counted), 0) as Tensor<never>,
  };
}
