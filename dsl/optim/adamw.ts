/** AdamW, written for one tensor of any axes: the training step applies it to whole arenas. */
import { add, cast, div, expm1, mul, neg, sqrt, sub, type Tensor } from "../tensor.ts";

export interface AdamWOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  readonly weightDecay?: number;
}

export interface AdamWState<A extends string> {
  readonly parameter: Tensor<A>;
  /** Running mean of the gradient. */
  readonly mean: Tensor<A>;
  /** Running mean of its square. */
  readonly square: Tensor<A>;
}

/**
 * One step of Adam with decoupled weight decay. Loshchilov, Hutter 2019, arXiv:1711.05101, algorithm 2.
 * `step` counts from 1 (i32 scalar: an f32 counter stays at 2^24); `rate` is the learning rate, `decay` the weight decay; both broadcast by
 * name, so a scalar serves for all elements.
 */
export function adamw<A extends string>(
  now: AdamWState<A>,
  gradient: Tensor<A>,
  step: Tensor<never>,
  rate: Tensor<A>,
  decay: Tensor<A>,
  { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 }: AdamWOptions,
): AdamWState<A> {
  const mean = add(mul(now.mean, beta1), mul(gradient, 1 - beta1)) as Tensor<A>;
  const square = add(mul(now.square, beta2), mul(mul(gradient, gradient), 1 - beta2)) as Tensor<A>;
  // 1 − βᵗ = −expm1(t · ln β): at the first steps βᵗ is so near 1 that the difference keeps few bits.
  const correct = (beta: number) => neg(expm1(mul(cast(step, "f32"), Math.log(beta))));
  const direction = div(div(mean, correct(beta1)), add(sqrt(div(square, correct(beta2))), epsilon));
  const parameter = sub(now.parameter, mul(rate, add(direction, mul(decay, now.parameter)))) as Tensor<A>;
  return { parameter, mean, square };
}
