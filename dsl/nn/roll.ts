/** Cyclic shifts. */
import { boundsOf, type Dim, printDim, UsageError } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { kindOfValue } from "../declared.ts";
import { concat, slice, type Tensor } from "../tensor.ts";
import { axisOf, longer } from "./axes.ts";

/**
 * x shifted cyclically by `by` elements along an axis: [A...] -> [A...], any dtype. The element i moves to (i + by)
 * modulo the axis's size, as by `torch.roll(x, by, dim)`; the shifted windows of Swin (Liu et al. 2021,
 * arXiv:2103.14030) are rolled by a negative number along each side. Throws UsageError if `by` is no integer, or if the
 * axis has a symbolic size that may be below |by|.
 */
export function roll<A extends string, K extends A>(x: Tensor<A>, along: Axis<K>, by: number): Tensor<A> {
  if (!Number.isSafeInteger(by))
    throw new UsageError(`roll shifts by a whole number of elements, got ${kindOfValue(by)}`);
  const own = axisOf(x, along.name);
  const shift = typeof own.size === "number" ? by % own.size : by;
  if (shift === 0) return x;
  const { min } = boundsOf(own.size);
  if (Math.abs(shift) > min)
    throw new UsageError(
      `roll by ${by} needs an axis "${own.name}" of at least ${Math.abs(by)} elements, but its size, ${printDim(own.size)}, may be ${min}\n  hint: declare the symbol's minimum: symbol(name, { min: ${Math.abs(by)} })`,
    );
  // What comes first in the result: the elements from `start` on.
  const start: Dim = shift < 0 ? -shift : longer(own, -shift).size;
  const rest: Dim = shift < 0 ? longer(own, shift).size : shift;
  return concat([slice(x, own, start, rest), slice(x, own, 0, start)], own);
}
