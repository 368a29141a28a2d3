/** Random patch dropping, which makes the long first phase of stage 1 cheap. */
import {
  and,
  axis,
  axisOf,
  cast,
  concat,
  eq,
  gather,
  iota,
  lt,
  mul,
  or,
  type Params,
  random,
  rename,
  slice,
  sum,
  type Tensor,
  UsageError,
  uniform,
} from "../../dsl/index.ts";

/**
 * Keeps the class token and a random subset of the patches, sampled anew for each image after positions are added. Li
 * et al. 2023, arXiv:2212.00794 (FLIP), section 3.1. x [batch, token = 1 + N, embed] -> [batch, 1 + round(part · N),
 * embed]
 */
export function keepTokens(
  p: Params,
  x: Tensor<"batch" | "token" | "embed">,
  part: number,
): Tensor<"batch" | "token" | "embed"> {
  const token = axisOf(x, "token");
  const patches = (token.size as number) - 1;
  const kept = Math.round(part * patches);
  if (!(kept >= 1 && kept <= patches))
    throw new UsageError(`${part} of ${patches} patches cannot be kept: give 0 < part ≤ 1`);
  const [all, other, chosen] = [axis("token", patches), axis("other_token", patches), axis("kept_token", kept)];
  const draw = random(`${p.path === "" ? "" : `${p.path}.`}keep`, [axisOf(x, "batch"), all], uniform(0, 1));
  const theirs = rename(draw, all, other);
  // A patch's rank among the draws; ties keep their order, so that ranks are a permutation.
  const before = or(lt(theirs, draw), and(eq(theirs, draw), lt(iota(other), iota(all))));
  const place = sum(cast(before, "i32"), other);
  const index = sum(mul(cast(eq(place, iota(chosen)), "i32"), iota(all)), all);
  const rows = rename(gather(slice(x, token, 1, patches), index, all), chosen, token);
  return concat([slice(x, token, 0, 1), rows], token);
}
