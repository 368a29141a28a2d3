/** Residual blocks: how branches and norms are arranged. */
import { UsageError } from "../../compiler/index.ts";
import { add, type Tensor } from "../tensor.ts";

/** A function of the residual stream that keeps its axes. */
export type Layer<A extends string> = (x: Tensor<A>) => Tensor<A>;

/** A branch of a residual block: a function of the stream, and its norm. */
export interface Branch<A extends string> {
  /** Branches of a parallel block that have the same function here share its norm. */
  readonly norm: Layer<A>;
  /** Attention or an MLP, including layer scale and drop path. */
  readonly of: Layer<A>;
}

/**
 * "pre-norm": x + f(norm x), branches in sequence (GPT-2, ViT). "post-norm": norm(x + f x) (Vaswani et al. 2017, BERT).
 * "parallel": x + f(norm x) + g(norm x), all branches on the same x (GPT-J, ViT-22B).
 */
export type Arrangement = "pre-norm" | "post-norm" | "parallel";

const arrangements: Readonly<
  Record<Arrangement, <A extends string>(x: Tensor<A>, branches: readonly Branch<A>[]) => Tensor<A>>
> = {
  "pre-norm": (x, branches) => branches.reduce((y, { norm, of }) => add(y, of(norm(y))), x),
  "post-norm": (x, branches) => branches.reduce((y, { norm, of }) => norm(add(y, of(y))), x),
  parallel: (x, branches) => {
    const norms = new Map(branches.map(({ norm }) => [norm, undefined as typeof x | undefined]));
    for (const norm of norms.keys()) norms.set(norm, norm(x));
    return branches.reduce((y, { norm, of }) => add(y, of(norms.get(norm)!)), x);
  },
};

/** A residual block of the given branches: x [...] -> the same. */
export function residual<A extends string>(
  x: Tensor<A>,
  arrangement: Arrangement,
  branches: readonly Branch<A>[],
): Tensor<A> {
  if (Object.hasOwn(arrangements, arrangement)) return arrangements[arrangement](x, branches);
  const known = Object.keys(arrangements).join(", ");
  throw new UsageError(`the arrangement of a residual block must be one of ${known}, got "${arrangement}"`);
}
