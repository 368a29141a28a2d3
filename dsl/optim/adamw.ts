/** Adam and AdamW: two moments of every gradient. */
import { add, cast, div, expm1, mul, neg, sqrt, sub, type Tensor } from "../tensor.ts";
import { adamSettings, checkRuleOptions } from "./setting-checks.ts";
import { type UpdateInputs, type UpdateRule, updateRule } from "./update-rule.ts";

/** Options of `adam` and `adamw`. */
export interface AdamOptions {
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
}

/** Running means of the gradient and of its square, initially 0. */
export type Moments = "mean" | "square";
const moments = { mean: 0, square: 0 };

/** The updated moments, and Adam's direction: mean / sqrt(square), both bias-corrected. */
export function adamDirection(
  { state, step }: Pick<UpdateInputs<Moments>, "state" | "step">,
  gradient: Tensor<"arena">,
  { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 }: AdamOptions,
) {
  const mean = add(mul(state.mean, beta1), mul(gradient, 1 - beta1));
  const square = add(mul(state.square, beta2), mul(mul(gradient, gradient), 1 - beta2));
  // 1 − βᵗ = −expm1(t · ln β): at the first steps βᵗ is so close to 1 that the subtraction would cancel.
  const correct = (beta: number) => neg(expm1(mul(cast(step, "f32"), Math.log(beta))));
  const direction = div(div(mean, correct(beta1)), add(sqrt(div(square, correct(beta2))), epsilon));
  return { direction, state: { mean, square } };
}

/**
 * Adam with decoupled weight decay. Loshchilov, Hutter 2019, arXiv:1711.05101, algorithm 2. Throws UsageError for an
 * unknown option, and for one out of its range.
 */
export const adamw = (options: AdamOptions = {}): UpdateRule<Moments> => {
  checkRuleOptions("adamw", options, adamSettings);
  return updateRule({
    name: "adamw",
    state: moments,
    weightDecay: 0.01,
    update: ({ parameter, gradient, rate, decay, ...now }) => {
      const { direction, state } = adamDirection(now, gradient, options);
      return { parameter: sub(parameter, mul(rate, add(direction, mul(decay, parameter)))), state };
    },
  });
};

/**
 * Adam; weight decay is added to the gradient, as L2 regularization. Kingma, Ba 2015, arXiv:1412.6980, algorithm 1.
 * Throws UsageError as `adamw`.
 */
export const adam = (options: AdamOptions = {}): UpdateRule<Moments> => {
  checkRuleOptions("adam", options, adamSettings);
  return updateRule({
    name: "adam",
    state: moments,
    update: ({ parameter, gradient, rate, decay, ...now }) => {
      const { direction, state } = adamDirection(now, add(gradient, mul(decay, parameter)), options);
      return { parameter: sub(parameter, mul(rate, direction)), state };
    },
  });
};
