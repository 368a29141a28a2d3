/** Stochastic gradient descent, with or without momentum. */
import { add, mul, sub } from "../tensor.ts";
import { type UpdateRule, updateRule } from "./update-rule.ts";

/** Options of `sgd`. */
export interface SgdOptions {
  /** Default 0: no state. */
  readonly momentum?: number;
  /** Nesterov momentum; default false. */
  readonly nesterov?: boolean;
}

/**
 * Weight decay is added to the gradient; the velocity accumulates gradients, so the current rate scales all of it. Same
 * as PyTorch's SGD without dampening: Sutskever et al. 2013, section 2, in the form that its documentation gives.
 */
export function sgd({ momentum = 0, nesterov = false }: SgdOptions = {}): UpdateRule {
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
