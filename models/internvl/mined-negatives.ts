/**
 * Hard negatives for matching, mined from the batch: similar pairs are sampled more often. Li et al. 2023,
 * arXiv:2301.12597.
 */
import {
  type AnyTensor,
  type Axis,
  add,
  argmax,
  cast,
  eq,
  gt,
  log,
  max,
  neg,
  not,
  random,
  reduceMax,
  rename,
  select,
  softmax,
  stopGradient,
  type Tensor,
  uniform,
} from "../../dsl/index.ts";
import type { Pairs } from "./contrastive.ts";

export interface Negatives {
  /** For each image a text of another group, and for each text such an image: i32 [batch], row indices. */
  readonly text: Tensor<"batch">;
  readonly image: Tensor<"batch">;
  /** Whether the batch has any row of another group. */
  readonly exist: Tensor<"batch">;
}

/** Added to the weight of every other pair, as in LAVIS, so that none is impossible. */
const least = 1e-4;

/**
 * Samples one entry of each row and each column of the similarities, with weight softmax + 1e-4, except the own group,
 * which has 0. Sampling takes the maximum of log p + Gumbel noise (Gumbel 1954), from the random inputs
 * `negatives.text` and `negatives.image`, so that all executors agree. No gradient passes. group i32 [batch]
 */
export function minedNegatives({ rows, columns, logits }: Pairs, group: Tensor<"batch">): Negatives {
  const others: AnyTensor = not(eq(group, rename(group, rows, columns)));
  const similar = stopGradient(logits);
  const draw = (name: string, over: Axis): AnyTensor => {
    const noise = neg(log(max(neg(log(max(random(name, [rows, columns], uniform(0, 1)), 1e-30))), 1e-30)));
    const weight: AnyTensor = add(softmax(similar as AnyTensor, over), least);
    return argmax(select(others, add(log(weight), noise), -1e30), over);
  };
  const image = draw("negatives.image", rows);
  return {
    text: draw("negatives.text", columns) as Tensor<"batch">,
    image: rename(image as Tensor<"pair">, columns, rows),
    exist: gt(reduceMax(cast(others, "f32"), columns), 0.5) as Tensor<"batch">,
  };
}
