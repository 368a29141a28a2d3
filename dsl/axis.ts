/** Axes: a name and a size. An axis has one role; the same size in a second role is another axis. */
import { type Dim, isSymbolic, type NamedAxis, symbol, UsageError } from "../compiler/index.ts";
import { kindOfValue } from "./declared.ts";

/** A named dimension of a tensor. */
export type Axis<N extends string = string> = NamedAxis<N>;

/**
 * The axis `name` with `size` elements. A string declares a symbolic size, any integer from 1; `symbol` declares one
 * with bounds. Throws UsageError for a size that is missing or not an integer.
 */
export function axis<const N extends string>(name: N, size: Dim | string): Axis<N> {
  if (typeof size === "string") return { name, size: symbol(size) };
  if (typeof name !== "string") throw new UsageError(`the name of an axis must be a string, got ${kindOfValue(name)}`);
  // An axis may be empty, such as the past before the first token; no tensor has one.
  if (typeof size === "number" ? !(Number.isSafeInteger(size) && size >= 0) : !isSymbolic(size))
    throw new UsageError(
      `the size of axis "${name}" must be a positive integer or a symbol, got ${typeof size === "number" ? size : kindOfValue(size)}`,
    );
  return { name, size };
}
