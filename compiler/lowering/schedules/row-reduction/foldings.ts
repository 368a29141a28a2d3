/** What one pass over a row computes: a reduction, or a maximum fused with a sum of exponentials relative to it. */
import type { Fold } from "../../../ir/algebra.ts";
import type { Node } from "../../../ir/node.ts";
import { foldOf } from "../../../ir/op.ts";
import { maxAndSumOfExp, maxOfSumOfExp } from "../../../ops/index.ts";

/** A fold and the reductions that it yields: a single one through `finish`, or one per accumulator. */
export interface Folded {
  readonly cores: readonly Node[];
  readonly fold: Fold;
}

/** Each reduction in a fold of its own. */
export const oneByOne = (cores: readonly Node[]): Folded[] =>
  cores.map((core) => ({ cores: [core], fold: foldOf(core)!.fold }));

/** Fuses maxima with the sums of exponentials that use them (online softmax), for rows that are expensive to reread. */
export function inOnePass(cores: readonly Node[]): Folded[] {
  const sums = new Map<Node, Node>();
  for (const core of cores) {
    const top = maxOfSumOfExp(core);
    if (top && cores.includes(top) && !sums.has(top)) sums.set(top, core);
  }
  const joined = new Set(sums.values());
  return cores.flatMap((core): Folded[] => {
    if (joined.has(core)) return [];
    const sum = sums.get(core);
    return sum ? [{ cores: [core, sum], fold: maxAndSumOfExp }] : oneByOne([core]);
  });
}
