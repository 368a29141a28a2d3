/** How data-parallel processes divide a step, and the shards of its state that one of them has. */

import { state, typed } from "../tensor.ts";
import type { Accumulation, GivenGradient, PartOfSums } from "./accumulation.ts";
import { numbered, type Placed } from "./arenas.ts";
import type { OwnPart } from "./gradient-cache.ts";
import {
  type Divided,
  type PlacedShard,
  rawNorm,
  type ShardRange,
  shardAverage,
  shardGradient,
  shardOf,
} from "./shard.ts";
import { type ShardSums, shardSums } from "./shard-sums.ts";
import type { SharedState } from "./shared-state.ts";
import type { UpdateRule } from "./update-rule.ts";

/** How a step is divided among data-parallel processes. */
export interface Parts extends OwnPart {
  /** Micro-batches over all processes, at least 2. Sums of uneven ones are weighted by their number of samples. */
  readonly count: number;
  /**
   * The range of an arena, given its element count, that this process updates and keeps optimizer state for; default
   * all.
   */
  readonly shard?: (elements: number) => ShardRange;
  /**
   * With `shard`: what else is sharded. Graphs then read parameters as separate tensors, not from arenas, and output
   * their gradients.
   */
  readonly divided?: Divided;
  /** Maximum elements of an arena; default the `largestArena` of `trainingStep`. */
  readonly largestArena?: number;
}

/** One process's shards of all arenas. */
export interface Shards {
  readonly places: readonly PlacedShard[];
  /** The indices of their arenas. */
  readonly numbers: readonly number[];
  readonly part: PartOfSums;
  /** What the rule sums over whole parameters. */
  readonly sums: ShardSums | undefined;
  readonly state: (sums: Accumulation["sums"], given: readonly GivenGradient[]) => NonNullable<SharedState["shard"]>;
}

export function shardsOf(
  placed: readonly Placed[],
  rangeOf: (elements: number) => ShardRange,
  rule: UpdateRule,
  divided: Divided | undefined,
): Shards {
  const ranges = placed.map(({ arena }) => rangeOf(arena.layout.size));
  const wholeSums = shardSums(rule, placed);
  const all = placed.map((place, i) => shardOf(place, ranges[i]!, i, wholeSums, divided));
  const isAveraged = placed.some(({ average }) => average !== undefined);
  const places = all.flatMap((shard) => shard ?? []);
  return {
    places,
    numbers: all.flatMap((shard, i) => (shard ? [i] : [])),
    sums: wholeSums,
    part: { gradients: places.map((p) => p.gradient), norm: typed(state(rawNorm, "f32", [])) },
    // Unless gradients are graph outputs, their sums come first among all sums.
    state: (sums, given) => ({
      ranges,
      gradients: placed.map((_, i) => ({ part: numbered(shardGradient, i), ...(!divided && { sum: sums[i]!.name }) })),
      norm: rawNorm,
      ...(wholeSums && { sums: wholeSums.kept }),
      ...(isAveraged && { averages: placed.map((_, i) => numbered(shardAverage, i)) }),
      ...(divided && { divided: { what: divided, given: new Map(given.map((g) => [g.output, g.parameter])) } }),
    }),
  };
}
