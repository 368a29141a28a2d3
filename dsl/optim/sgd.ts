/** Stochastic gradient descent, with or without momentum. */
import { UsageError } from "../../compiler/index.ts";
import { add, mul, sub } from "../tensor.ts";
import { checkRuleOptions, decayRate, flag } from "./setting-checks.ts";
import { type UpdateRule, updateRule } from "./update-rule.ts";

/** Options of `sgd`. */
export interface SgdOptions {
  /** Default 0: no state. */
  readonly momentum?: number;
  /** Nesterov momentum, which needs a momentum; default false. */
  readonly nesterov?: boolean;
}

/**
 * Weight decay is added to the gradient; the velocity accumulates gradients, so the current rate scales all of it. Same
 * as PyTorch's SGD without dampening: Sutskever et al. 2013, section 2, in the form that its documentation gives.
 * Throws UsageError for an unknown option, for one out of its range, and for `nesterov` without momentum.
 */
export function sgd(options: SgdOptions = {}): UpdateRule {
  checkRuleOptions("sgd", options, { momentum: decayRate, nesterov: flag });
  const { momentum = 0, nesterov = false } = options;
  if (nesterov && momentum === 0)
    throw new UsageError("nesterov of sgd needs a momentum, such as sgd({ momentum: 0.9, nesterov: true })");
  if (momentum === 0)
    return updateRule({
      name: "sgd",
      state: {},
      update: ({ parameter, gradient, rate, decay }) => ({
        parameter: sub(parameter, mul(rate, add(gradient, mul(decay, parameter)))),
        state: {},
      }),
    });
  return updateRule<string>({
    name: "sgd",
    state: { velocity: 0 },
    update: ({ parameter, gradient, state, rate, decay }) => {
      const decayed = add(gradient, mul(decay, parameter));
      const velocity = add(mul(state.velocity!, momentum), decayed);
      const direction = nesterov ? add(decayed, mul(velocity, momentum)) : velocity;
      return { parameter: sub(parameter, mul(rate, direction)), state: { velocity } };
    },
  });
}
