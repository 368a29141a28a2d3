/** What is folded of a row in one pass: a reduction, or a maximum together with the sum of exponentials below it. */
import type { Fold } from "../../../ir/algebra.ts";
import type { Node } from "../../../ir/node.ts";
import { foldOf } from "../../../ir/op.ts";
import { maxAndSumOfExp, maxOfSumOfExp } from "../../../ops/index.ts";

/** A fold with the reductions that its accumulators give: one by its `finish`, or each accumulator its own. */
export interface Folded {
  readonly cores: readonly Node[];
  readonly fold: Fold;
}

/** Each reduction by itself. */
export const oneByOne = (cores: readonly Node[]): Folded[] =>
  cores.map((core) => ({ cores: [core], fold: foldOf(core)!.fold }));

/** Maxima joined with the sums of exponentials that wait for them, for rows that are dear to read again. */
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
