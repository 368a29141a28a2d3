/** Which parts of the training state are sharded over ranks. */
import { type Range, rangesOf } from "../collectives/index.ts";

/** Each includes those before it: stages 1, 2 and 3 of Rajbhandari et al. 2020, arXiv:1910.02054. */
export const shards = ["optimizer", "gradients", "weights"] as const;
export type Shard = (typeof shards)[number];

/** Default bytes of sharded weights, and of gradients, that are whole at a time. */
export const usualPartBytes = 2 ** 28;

/**
 * Number of parts in which gradients are exchanged while the next are computed, and the bytes below which a part is not
 * worth it.
 */
const [usualParts, leastPart] = [8, 2 ** 22];

/** Bytes of gradients exchanged at once when each rank has all of them; at most `most`. */
export const exchangedAtOnce = (gradients: number, most: number): number =>
  Math.min(most, Math.max(leastPart, Math.ceil(gradients / usualParts)));

/** Each rank's range of a tensor at `offset` in an arena of `elements` elements, relative to the tensor's start. */
export const rangesWithin = (elements: number, size: number, offset: number, length: number): readonly Range[] =>
  rangesOf(elements, size).map(({ from, to }) => {
    const within = (at: number) => Math.min(Math.max(at - offset, 0), length);
    return { from: within(from), to: within(to) };
  });

/** Offsets of each rank's pieces of some tensors when packed, the pieces of a rank side by side. */
export function packedRanges(tensors: readonly (readonly Range[])[], size: number, each = 1): Range[] {
  let at = 0;
  return Array.from({ length: size }, (_, rank) => {
    const from = at;
    for (const ranges of tensors) at += (ranges[rank]!.to - ranges[rank]!.from) * each;
    return { from, to: at };
  });
}
