/** Axes: a name and a size. An axis stands for one role; the same size in a second role is another axis. */
import { type Dim, isSymbolic, type NamedAxis, symbol, UsageError } from "../compiler/index.ts";
import { kindOfValue } from "./declared.ts";

/** A name and a size: what a dimension of a tensor stands for. */
export type Axis<N extends string = string> = NamedAxis<N>;

/**
 * The axis `name` with `size` elements. A text is a symbol, any number from 1; `symbol` declares one with bounds. Throws
 * UsageError for a size that is missing or no whole number.
 */
export function axis<const N extends string>(name: N, size: Dim | string): Axis<N> {
  if (typeof size === "string") return { name, size: symbol(size) };
  if (typeof name !== "string") throw new UsageError(`an axis is named by a text, not by ${kindOfValue(name)}`);
  // An axis without elements may stand for what is not there, such as a past; no tensor has one.
  if (typeof size === "number" ? !(Number.isInteger(size) && size >= 0) : !isSymbolic(size))
    throw new UsageError(
      `axis "${name}" has the size ${typeof size === "number" ? size : kindOfValue(size)}; a size is a whole number from 1, or a symbol`,
    );
  return { name, size };
}
