/**
 * Sharded updates: each process updates its part of every arena and keeps only that part of the optimizer state (ZeRO).
 * Rajbhandari et al. 2020, arXiv:1910.02054, sections 5.1 and 5.2.
 */
import { type ArenaLayout, UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { slice, state, type Tensor } from "../tensor.ts";
import { numbered, type Placed } from "./arenas.ts";

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

/** A shard of an arena in the graph of a step. */
export interface PlacedShard extends Placed {
  /** The whole arena, which the updated parameters are written into; undefined if the weights are sharded too. */
  readonly whole?: Tensor<"arena">;
  readonly range: ShardRange;
  /** The gradient sum of the shard. */
  readonly gradient: Tensor<"arena">;
}

/**
 * Places a shard; undefined for an empty range, which small arenas may have. Throws UsageError for what cannot be
 * sharded.
 */
export function shardOf(
  placed: Placed,
  range: ShardRange,
  i: number,
  rule: string,
  divided?: Divided,
): PlacedShard | undefined {
  const { arena, before } = placed;
  if (arena.average) throw new UsageError("ema cannot be combined with sharded state (--shard): leave one of them out");
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
  return {
    arena: { ...arena, layout },
    axis: along,
    before: { parameter, state: Object.fromEntries(kept) },
    ...(isWhole && { whole }),
    range,
    gradient: held(numbered(shardGradient, i)),
    wholeParameters: () => {
      throw new UsageError(
        `the rule "${rule}" needs sums over whole parameters and cannot be combined with sharded state (--shard): leave one of them out`,
      );
    },
  };
}
