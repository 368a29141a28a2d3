/** Online softmax: max and Σ exp as one fold, for rows that are expensive to read twice. */
import type { Fold } from "../ir/algebra.ts";
import type { Node } from "../ir/node.ts";
import { exp, sub } from "./elementwise.ts";
import { is } from "./kinds.ts";
import { reduceMax, reduceSum } from "./reductions.ts";

/**
 * The running maximum, and Σ exp(x − maximum), which is rescaled when the maximum grows. One pass over a row gives both
 * (Milakov, Gimelshein 2018, arXiv:1805.02867, algorithm 3). No exponent is above 0.
 */
export const maxAndSumOfExp: Fold = {
  accumulators: [{ start: "lowest" }, { start: 0 }],
  lift: (s, [x]) => [x!, s.constant(1)],
  merge: (s, [a, sumA], [b, sumB]) => {
    const rises = s.less(a!, b!);
    const shrinks = s.call("exp", s.sub(s.min(a!, b!), s.max(a!, b!)));
    const [below, above] = [s.select(rises, sumA!, sumB!), s.select(rises, sumB!, sumA!)];
    return [s.max(a!, b!), s.add(s.mul(below, shrinks), above)];
  },
};

/** The node max x, if `sum` is Σ exp(x − max x) over the same axes: both are accumulators of that fold. */
export function maxOfSumOfExp(sum: Node): Node | undefined {
  const raised = is(reduceSum, sum) ? sum.operands[0]! : undefined;
  const shifted = is(exp, raised) ? raised!.operands[0]! : undefined;
  const [x, top] = is(sub, shifted) ? shifted!.operands : [];
  const same = is(reduceMax, top) && top!.operands[0] === x && String(top!.attrs.over) === String(sum.attrs.over);
  return same ? top : undefined;
}
