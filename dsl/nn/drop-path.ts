/** Stochastic depth. */
import type { Axis } from "../axis.ts";
import type { Params } from "../params.ts";
import { mul, type Tensor } from "../tensor.ts";

/**
 * In training, drops a residual branch for whole samples with probability `rate`, and scales what is kept by 1/(1 −
 * rate). Huang et al. 2016, arXiv:1603.09382.
 */
export function dropPath<A extends string, B extends A>(
  p: Params,
  branch: Tensor<A>,
  batch: Axis<B>,
  rate: number,
): Tensor<A> {
  if (!p.training || rate === 0) return branch;
  return mul(branch, mul(p.bernoulli("drop_path", [batch], 1 - rate), 1 / (1 - rate))) as Tensor<A>;
}
