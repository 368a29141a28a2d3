/** Per-parameter sums over an arena, broadcast back over each parameter: for norms of parameters, as in LAMB. */
import { type ArenaLayout, UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { broadcast, concat, slice, sum, type Tensor } from "../tensor.ts";

/** The sum over each range of the layout, broadcast from the range's start up to the next range. */
export function sumOfEach(x: Tensor<"arena">, { entries, size }: ArenaLayout, arena: Axis<"arena">): Tensor<"arena"> {
  if (!x.type.axes.some((a) => a.name === "arena"))
    throw new UsageError("sumOfEach takes a tensor [arena], got a scalar");
  const spread = entries.map(({ offset, length }, i) => {
    const total = sum(slice(x, arena, offset, length), arena) as Tensor<never>;
    return broadcast(total, axis("arena", (entries[i + 1]?.offset ?? size) - offset));
  });
  return concat(spread, arena);
}
