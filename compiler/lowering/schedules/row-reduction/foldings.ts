/** What is folded of a row in one pass: a reduction, or a maximum together with the sum of exponentials below it. */
import type { Fold } from "../../../ir/algebra.ts";
import type { Node } from "../../../ir/node.ts";
import { foldOf } from "../../../ir/op.ts";
import { exp, is, reduceMax, reduceSum, sub } from "../../../ops/index.ts";

/** A fold with the reductions that its accumulators give: one by its `finish`, or each accumulator its own. */
export interface Folded {
  readonly cores: readonly Node[];
  readonly fold: Fold;
}

/**
 * The largest value so far, and Σ exp(x − largest): where a larger value comes, what was summed shrinks accordingly. Both
 * need one pass over a row (Milakov, Gimelshein 2018, arXiv:1805.02867, algorithm 3). No exponent is above 0.
 */
const maxAndSum: Fold = {
  accumulators: [{ start: "lowest" }, { start: 0 }],
  lift: (s, [x]) => [x!, s.constant(1)],
  merge: (s, [a, sumA], [b, sumB]) => {
    const rises = s.less(a!, b!);
    const shrinks = s.call("exp", s.sub(s.min(a!, b!), s.max(a!, b!)));
    const [below, above] = [s.select(rises, sumA!, sumB!), s.select(rises, sumB!, sumA!)];
    return [s.max(a!, b!), s.add(s.mul(below, shrinks), above)];
  },
};

/** The maximum that a sum of exp(x − max x) waits for, where both are of the same elements. */
function topOf(sum: Node, cores: readonly Node[]): Node | undefined {
  const raised = is(reduceSum, sum) ? sum.operands[0]! : undefined;
  const shifted = is(exp, raised) ? raised!.operands[0]! : undefined;
  const [x, top] = is(sub, shifted) ? shifted!.operands : [];
  const same = is(reduceMax, top) && top!.operands[0] === x && String(top!.attrs.over) === String(sum.attrs.over);
  return same && cores.includes(top!) ? top : undefined;
}

/** Each reduction by itself. */
export const oneByOne = (cores: readonly Node[]): Folded[] =>
  cores.map((core) => ({ cores: [core], fold: foldOf(core)!.fold }));

/** Maxima joined with the sums of exponentials that wait for them, for rows that are dear to read again. */
export function inOnePass(cores: readonly Node[]): Folded[] {
  const sums = new Map<Node, Node>();
  for (const core of cores) {
    const top = topOf(core, cores);
    if (top && !sums.has(top)) sums.set(top, core);
  }
  const joined = new Set(sums.values());
  return cores.flatMap((core): Folded[] => {
    if (joined.has(core)) return [];
    const sum = sums.get(core);
    return sum ? [{ cores: [core, sum], fold: maxAndSum }] : oneByOne([core]);
  });
}
