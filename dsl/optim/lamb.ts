/** LAMB: Adam with a trust ratio that scales each parameter's step to the parameter's norm. */
import { add, and, div, gt, mul, select, sqrt, sub } from "../tensor.ts";
import { type AdamOptions, adamDirection, type Moments } from "./adamw.ts";
import { adamSettings, checkRuleOptions } from "./setting-checks.ts";
import { type UpdateRule, updateRule } from "./update-rule.ts";

/**
 * You et al. 2020, arXiv:1904.00962, algorithm 2, with φ(x) = x: each parameter's update, weight decay included, is
 * scaled to the parameter's norm. The trust ratio is 1 if either norm is 0. Epsilon is 1e-6 by default. Throws
 * UsageError as `adamw`.
 */
export const lamb = (options: AdamOptions = {}): UpdateRule<Moments> => {
  checkRuleOptions("lamb", options, adamSettings);
  const { epsilon = 1e-6, ...rest } = options;
  return updateRule({
    name: "lamb",
    state: { mean: 0, square: 0 },
    weightDecay: 0.01,
    update: ({ parameter, gradient, rate, decay, sumOfEach, ...now }) => {
      const { direction, state } = adamDirection(now, gradient, { epsilon, ...rest });
      const decayed = add(direction, mul(decay, parameter));
      const [size, length] = [parameter, decayed].map((x) => sqrt(sumOfEach(mul(x, x))));
      const isKnown = and(gt(size!, 0), gt(length!, 0));
      const trust = select(isKnown, div(size!, select(isKnown, length!, 1)), 1);
      return { parameter: sub(parameter, mul(mul(rate, trust), decayed)), state };
    },
  });
};
