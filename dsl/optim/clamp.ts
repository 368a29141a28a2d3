/** Weight clamps: keeping parameters within a range after an update. */
import type { ArenaLayout } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import type { Range } from "../params.ts";
import { and, ge, iota, lt, max, min, select, type Tensor } from "../tensor.ts";

/** Clamps some parameters of an arena; all other elements stay unchanged, even NaN. */
export const clampRanges = (
  x: Tensor<"arena">,
  { entries }: ArenaLayout,
  arena: Axis<"arena">,
  ranges: ReadonlyMap<string, Range>,
): Tensor<"arena"> =>
  entries
    .filter((e) => ranges.has(e.name))
    .reduce((now: Tensor<"arena">, { name, offset, length }) => {
      const [low, high] = ranges.get(name)!;
      const isInside = and(ge(iota(arena), offset), lt(iota(arena), offset + length));
      return select(isInside, min(max(now, low), high), now);
    }, x);
