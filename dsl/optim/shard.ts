/**
 * Sharded updates: each process updates its part of every arena and keeps only that part of the optimizer state (ZeRO).
 * Rajbhandari et al. 2020, arXiv:1910.02054, sections 5.1 and 5.2.
 */
import type { ArenaLayout } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { slice, state, type Tensor } from "../tensor.ts";
import { numbered, type Placed } from "./arenas.ts";
import type { ShardSums } from "./shard-sums.ts";

/** One process's elements of an arena, [from, to); `from` is a multiple of the arena's alignment. */
export interface ShardRange {
  readonly from: number;
  readonly to: number;
}

/** What is sharded besides the optimizer state. "weights" includes the gradients. */
export type Divided = "gradients" | "weights";

/** The layout within a range, with offsets from its start. */
export function layoutWithin({ entries }: ArenaLayout, { from, to }: ShardRange): ArenaLayout {
  const inside = entries.flatMap((e) => {
    const [begin, end] = [Math.max(e.offset, from), Math.min(e.offset + e.length, to)];
    return begin < end ? [{ ...e, offset: begin - from, length: end - begin }] : [];
  });
  return { entries: inside, size: to - from };
}

/** Store names of a shard's gradient sum, and of the norm of all sums. */
export const shardGradient = "train.shard.gradients";
export const rawNorm = "train.shard.norm";

/** The store's name of a shard of the average; the average's own name is that of the whole. */
export const shardAverage = "train.shard.average";

/** A shard of an arena in the graph of a step. */
export interface PlacedShard extends Placed {
  /** The whole arena, which the updated parameters are written into; undefined if the weights are sharded too. */
  readonly whole?: Tensor<"arena">;
  readonly range: ShardRange;
  /** The gradient sum of the shard. */
  readonly gradient: Tensor<"arena">;
}

/** Places a shard; undefined for an empty range, which small arenas may have. */
export function shardOf(
  placed: Placed,
  range: ShardRange,
  i: number,
  sums: ShardSums | undefined,
  divided: Divided | undefined,
): PlacedShard | undefined {
  const { arena, before } = placed;
  const layout = layoutWithin(arena.layout, range);
  if (layout.size === 0) return undefined;
  const along = axis("arena", layout.size) as Axis<"arena">;
  const held = (name: string) => state(name, "f32", [along]) as Tensor<"arena">;
  const whole = before.parameter;
  const kept = Object.entries(arena.state).map(([name, stored]) => [name, held(stored)]);
  const isWhole = divided !== "weights";
  const parameter = isWhole
    ? (slice(whole, placed.axis, range.from, layout.size) as Tensor<"arena">)
    : held(arena.parameters);
  const average = arena.average && numbered(shardAverage, i);
  return {
    arena: { ...arena, layout, ...(average && { average }) },
    axis: along,
    ...(average && { average: held(average) }),
    before: { parameter, state: Object.fromEntries(kept) },
    ...(isWhole && { whole }),
    range,
    gradient: held(numbered(shardGradient, i)),
    ...(sums && { wholeSums: (nth) => sums.whole(i, { layout, axis: along }, nth) }),
  };
}
