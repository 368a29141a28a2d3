/** Per-parameter sums over an arena, broadcast back over each parameter: for norms of parameters, as in LAMB. */
import { type ArenaLayout, UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { broadcast, concat, slice, sum, type Tensor } from "../tensor.ts";

/** The tensors that a rule sums, in the order of its calls. */
export type Summed = readonly Tensor<"arena">[];

/** The sum over each range of the layout, broadcast from the range's start up to the next range. */
export const sumOfEach = (x: Tensor<"arena">, layout: ArenaLayout, arena: Axis<"arena">): Tensor<"arena"> =>
  overRanges(sumsOfRanges(x, layout, arena), layout, arena);

/** The sum over each range of the layout, in their order. */
export function sumsOfRanges(x: Tensor<"arena">, { entries }: ArenaLayout, arena: Axis<"arena">): Tensor<never>[] {
  if (!x.type.axes.some((a) => a.name === "arena"))
    throw new UsageError("sumOfEach takes a tensor [arena], got a scalar");
  return entries.map(({ offset, length }) => sum(slice(x, arena, offset, length), arena) as Tensor<never>);
}

/** A value for each range of the layout, broadcast from the range's start up to the next range. */
export function overRanges(
  values: readonly Tensor<never>[],
  { entries, size }: ArenaLayout,
  arena: Axis<"arena">,
): Tensor<"arena"> {
  const lengthOf = (i: number) => (entries[i + 1]?.offset ?? size) - entries[i]!.offset;
  return concat(
    values.map((value, i) => broadcast(value, axis("arena", lengthOf(i)))),
    arena,
  );
}
