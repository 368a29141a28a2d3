/** Negatives for matching that are found in the batch: what is alike is drawn more often. Li et al. 2023, arXiv:2301.12597. */
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
  /** For each image a text of another group, for each text an image of another: i32 [batch], rows of the batch. */
  readonly text: Tensor<"batch">;
  readonly image: Tensor<"batch">;
  /** Whether the batch has another group at all. */
  readonly exist: Tensor<"batch">;
}

/** What every other pair is given besides its similarity, as LAVIS does, so that none is impossible. */
const least = 1e-4;

/**
 * One draw from each row and each column of the similarities, with the probability softmax + 1e-4 but for the own group,
 * which has none. A draw is the largest of log p + Gumbel noise (Gumbel 1954), from the random inputs `negatives.text` and
 * `negatives.image`, so that every executor draws alike. No gradient passes. group i32 [batch]
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
