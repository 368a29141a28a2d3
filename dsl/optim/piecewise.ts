/** Piecewise constant values along an axis, such as the weight decay along an arena of parameters. */
import type { Axis } from "../axis.ts";
import { constant, ge, iota, select, type Tensor, typed } from "../tensor.ts";

/** A value from element `start` up to the next piece. */
export interface Piece {
  readonly start: number;
  readonly value: number;
}

/**
 * The values along an axis of known size; a scalar if all are equal. The first piece starts at 0; starts increase.
 * Computed by comparing positions, so no table is stored.
 */
export function piecewise<A extends string>(pieces: readonly Piece[], along: Axis<A>): Tensor<A> {
  const [first, ...later] = pieces.filter((p, i) => i === 0 || p.value !== pieces[i - 1]!.value);
  const start: Tensor<A> = typed(constant(first!.value));
  return later.reduce((x, p) => select(ge(iota(along), p.start), p.value, x), start);
}
