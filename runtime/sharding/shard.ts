/** What of a training state ranks keep in parts. */
import { type Range, rangesOf } from "../collectives/index.ts";

/** Each with those before it: stages 1, 2 and 3 of Rajbhandari et al. 2020, arXiv:1910.02054. */
export const shards = ["optimizer", "gradients", "weights"] as const;
export type Shard = (typeof shards)[number];

/** Bytes of weights, and of gradients, that are whole at a time where they are kept in parts. */
export const usualPartBytes = 2 ** 28;

/** Parts of a step's gradients of which one is exchanged while the next are computed, and bytes below which none is worth it. */
const [usualParts, leastPart] = [8, 2 ** 22];

/** Bytes of gradients that are exchanged at once where each rank has all of them; `most` of them at most. */
export const exchangedAtOnce = (gradients: number, most: number): number =>
  Math.min(most, Math.max(leastPart, Math.ceil(gradients / usualParts)));

/** What each rank has of a tensor that lies at `offset` in an arena of so many elements, counted from its beginning. */
export const rangesWithin = (elements: number, size: number, offset: number, length: number): readonly Range[] =>
  rangesOf(elements, size).map(({ from, to }) => {
    const within = (at: number) => Math.min(Math.max(at - offset, 0), length);
    return { from: within(from), to: within(to) };
  });

/** Where each rank's pieces of some tensors lie when they are put together, those of a rank side by side. */
export function packedRanges(tensors: readonly (readonly Range[])[], size: number, each = 1): Range[] {
  let at = 0;
  return Array.from({ length: size }, (_, rank) => {
    const from = at;
    for (const ranges of tensors) at += (ranges[rank]!.to - ranges[rank]!.from) * each;
    return { from, to: at };
  });
}
