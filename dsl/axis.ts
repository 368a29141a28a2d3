/** Axes: a name and a size. An axis stands for one role; the same size in a second role is another axis. */
import { type Axis as AnyAxis, type Dim, symbol } from "../compiler/index.ts";

export interface Axis<N extends string = string> extends AnyAxis {
  readonly name: N;
  readonly size: Dim;
}

/** The axis `name` with `size` elements. A text is a symbol, any number from 1; `symbol` declares one with bounds. */
export const axis = <const N extends string>(name: N, size: Dim | string): Axis<N> => ({
  name,
  size: typeof size === "string" ? symbol(size) : size,
});
