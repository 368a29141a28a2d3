/**
 * Loss scaling: cotangents that f16 would round to 0 are lifted into its range, and gradients brought back in f32.
 * Micikevicius et al. 2018, arXiv:1710.03740, section 3.2. The scale is a state, which the compiler cannot cancel as it
 * could a number, and which a step that adapts it would update.
 */
import { div, mul, type Tensor } from "../tensor.ts";

export const scaledLoss = (loss: Tensor<never>, scale: Tensor<never>): Tensor<never> => mul(loss, scale);

/** The gradient of the loss itself, before anything measures or clips it. */
export const unscaled = <A extends string>(gradient: Tensor<A>, scale: Tensor<never>): Tensor<A> =>
  mul(gradient, div(1, scale)) as Tensor<A>;
