/** Values that differ from range to range of an axis, such as the weight decay along an arena of parameters. */
import type { Axis } from "../axis.ts";
import { broadcast, concat, constant, ge, iota, select, type Tensor, typed } from "../tensor.ts";

/** One value from this element on, up to where the next one starts. */
export interface Piece {
  readonly start: number;
  readonly value: number;
}

/** Positions are i32. */
const mostPositions = 2 ** 31 - 1;

/**
 * The values along an axis of known size; a scalar where all agree. The first piece starts at 0, and each after the one before.
 * Positions are compared, which needs no memory; an axis that is longer than they count, `counted`, is put together of parts.
 */
export function piecewise<A extends string>(
  pieces: readonly Piece[],
  along: Axis<A>,
  counted = mostPositions,
): Tensor<A> {
  const steps = pieces.filter((p, i) => i === 0 || p.value !== pieces[i - 1]!.value);
  const [first, ...later] = steps;
  const start: Tensor<A> = typed(constant(first!.value));
  if (later.length === 0) return start;
  const size = Number(along.size);
  if (size <= counted) return later.reduce((x, p) => select(ge(iota(along), p.start), p.value, x), start);
  const parts = steps.map((p, i) => {
    const length = (steps[i + 1]?.start ?? size) - p.start;
    return broadcast(constant(p.value), { ...along, size: length }) as Tensor<A>;
  });
  return concat(parts, along);
}
