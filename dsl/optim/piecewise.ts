/** Values that differ from range to range of an axis, such as the weight decay along an arena of parameters. */
import type { Axis } from "../axis.ts";
import { constant, ge, iota, select, type Tensor, typed } from "../tensor.ts";

/** One value from this element on, up to where the next one starts. */
export interface Piece {
  readonly start: number;
  readonly value: number;
}

/**
 * The values along an axis of known size; a scalar where all agree. The first piece starts at 0, and each after the one before.
 * Positions are compared, which needs no memory.
 */
export function piecewise<A extends string>(pieces: readonly Piece[], along: Axis<A>): Tensor<A> {
  const [first, ...later] = pieces.filter((p, i) => i === 0 || p.value !== pieces[i - 1]!.value);
  const start: Tensor<A> = typed(constant(first!.value));
  return later.reduce((x, p) => select(ge(iota(along), p.start), p.value, x), start);
}
