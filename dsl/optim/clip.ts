/** Gradient clipping by global norm. */

import type { Axis } from "../axis.ts";
import { add, div, min, mul, sqrt, sum, type Tensor } from "../tensor.ts";

/** The L2 norm of all gradients together, each a flat tensor summed over its own axis. */
export const globalNorm = <A extends string>(
  gradients: readonly Tensor<A>[],
  over: readonly Axis<A>[],
): Tensor<never> =>
  sqrt(
    gradients.map((g, i) => sum(mul(g, g), over[i]!) as Tensor<never>).reduce((x, y) => add(x, y) as Tensor<never>),
  ) as Tensor<never>;

/** Scales the gradient so that its norm is at most `limit`. Pascanu et al. 2013, arXiv:1211.5063, algorithm 1. */
export const clipByNorm = <A extends string>(gradient: Tensor<A>, norm: Tensor<never>, limit: number): Tensor<A> =>
  mul(gradient, min(div(limit, add(norm, 1e-6)), 1)) as Tensor<A>;
