/**
 * Sizes that may be symbolic until a kernel is dispatched: as expressions, as bounds, and as the typical number that
 * heuristics use. Heuristics affect only speed and memory: kernels are correct for every size within its bounds.
 */
import {
  boundsOf,
  type Dim,
  dimValue,
  isMultipleOf,
  productOfDims,
  type SizeSymbol,
  symbolsOf,
  termsOf,
} from "../ir/dim.ts";
import { deviceElementBytes } from "../ir/dtype.ts";
import type { Node } from "../ir/node.ts";
import type { Axis } from "../ir/type.ts";
import { type Expr, int, sizeSymbol, type Var, variable } from "../kernel/index.ts";
import { add, mul } from "../kernel/simplify.ts";

/** The typical value of a symbolic size, unless its bounds exclude it. */
const usualSize = 256;

/** A size as an index expression: a constant, or a polynomial over size symbols. */
export const dimExpr = (dim: Dim): Expr =>
  typeof dim === "number"
    ? int(dim)
    : termsOf(dim)
        .map(({ coefficient, symbols }) =>
          symbols.map((s): Expr => sizeSymbol(s.name, s)).reduce(mul, int(coefficient)),
        )
        .reduce(add);

/** The number that heuristics use for a size: itself if static, else `usual` clamped to its bounds and multiple. */
export function typical(dim: Dim, usual = usualSize): number {
  if (typeof dim === "number") return dim;
  const usualOf = ({ min, max, multipleOf }: SizeSymbol) =>
    Math.max(min, Math.floor(Math.min(max, usual) / multipleOf) * multipleOf);
  return Math.max(1, dimValue(dim, Object.fromEntries(symbolsOf(dim).map((s) => [s.name, usualOf(s)]))));
}

/** Whether a size is 1, as a number or by its bounds. */
export const isOne = (dim: Dim): boolean => (typeof dim === "number" ? dim : boundsOf(dim).max) === 1;

/** The number of elements of a tensor with these axes. */
export const spanOf = (axes: readonly Axis[]): Dim => productOfDims(axes.map((a) => a.size));
export const typicalSpan = (axes: readonly Axis[]): number => typical(spanOf(axes));

/** An index variable that runs over an axis: 0 .. size - 1. */
export const indexOver = (name: string, size: Dim): Var =>
  variable(name, "i32", { min: 0, max: Math.max(0, (typeof size === "number" ? size : boundsOf(size).max) - 1) });

/** Bytes of a tensor on a device, where a bool takes four. */
export const deviceBytes = ({ type }: Node): Dim =>
  productOfDims([deviceElementBytes(type.dtype), ...type.axes.map((a) => a.size)]);

export { isMultipleOf };
