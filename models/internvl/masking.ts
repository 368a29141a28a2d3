/** Random patch dropping, which makes a long training cheap. */
import {
  type Axis,
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
  type Tokens,
  UsageError,
  uniform,
} from "../../dsl/index.ts";

export type KeptPatches = Tensor<"batch" | "kept_token">;

/**
 * The numbers of the patches that are kept, a random subset sampled anew for each image: i32 [batch, kept_token =
 * round(part · N)] of N patches.
 */
export function keptPatches(p: Params, batch: Axis<"batch">, patches: number, part: number): KeptPatches {
  const kept = Math.round(part * patches);
  if (!(kept >= 1 && kept <= patches))
    throw new UsageError(`cannot keep ${part} of ${patches} patches: it must be in (0, 1]`);
  const [all, other, chosen] = [axis("token", patches), axis("other_token", patches), axis("kept_token", kept)];
  const draw = random(`${p.path === "" ? "" : `${p.path}.`}keep`, [batch, all], uniform(0, 1));
  const theirs = rename(draw, all, other);
  // A patch's rank among the draws; ties keep their order, so that ranks are a permutation.
  const before = or(lt(theirs, draw), and(eq(theirs, draw), lt(iota(other), iota(all))));
  const place = sum(cast(before, "i32"), other);
  return sum(mul(cast(eq(place, iota(chosen)), "i32"), iota(all)), all);
}

/** The class token and the patches of these numbers: x [batch, token = 1 + N, embed] -> [batch, 1 + kept, embed]. */
export function classAndPatches(x: Tokens, kept: KeptPatches): Tokens {
  const token = axisOf(x, "token");
  const patches = slice(x, token, 1, (token.size as number) - 1);
  const rows = rename(gather(patches, kept, axisOf(patches, "token")), axisOf(kept, "kept_token"), token);
  return concat([slice(x, token, 0, 1), rows], token);
}

/**
 * Keeps the class token and a random subset of the patches, after positions are added. Li et al. 2023, arXiv:2212.00794
 * (FLIP), section 3.1. x [batch, token = 1 + N, embed] -> [batch, 1 + round(part · N), embed]
 */
export const keepTokens = (p: Params, x: Tokens, part: number): Tokens =>
  classAndPatches(x, keptPatches(p, axisOf(x, "batch"), (axisOf(x, "token").size as number) - 1, part));
