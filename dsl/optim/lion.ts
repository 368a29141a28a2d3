/** Lion: the sign of an interpolated momentum, so every element moves by the same amount. */
import { add, cast, gt, lt, mul, sub } from "../tensor.ts";
import { checkRuleOptions, decayRate } from "./setting-checks.ts";
import { type UpdateRule, updateRule } from "./update-rule.ts";

/** Options of `lion`. */
export interface LionOptions {
  /** Weight of the mean in the direction; default 0.9. */
  readonly beta1?: number;
  /** Decay of the mean; default 0.99. */
  readonly beta2?: number;
}

/**
 * Chen et al. 2023, arXiv:2302.06675, algorithm 2; the sign of 0 is 0. Throws UsageError for an unknown option, and for
 * one out of its range.
 */
export const lion = (options: LionOptions = {}): UpdateRule<"mean"> => {
  checkRuleOptions("lion", options, { beta1: decayRate, beta2: decayRate });
  const { beta1 = 0.9, beta2 = 0.99 } = options;
  return updateRule({
    name: "lion",
    state: { mean: 0 },
    update: ({ parameter, gradient, state, rate, decay }) => {
      const towards = add(mul(state.mean, beta1), mul(gradient, 1 - beta1));
      const sign = sub(cast(gt(towards, 0), "f32"), cast(lt(towards, 0), "f32"));
      return {
        parameter: sub(parameter, mul(rate, add(sign, mul(decay, parameter)))),
        state: { mean: add(mul(state.mean, beta2), mul(gradient, 1 - beta2)) },
      };
    },
  });
};
