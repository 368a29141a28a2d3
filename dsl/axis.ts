/** Axes: a name and a size. An axis stands for one role; the same size in a second role is another axis. */
import { type Dim, type NamedAxis, symbol } from "../compiler/index.ts";

export type Axis<N extends string = string> = NamedAxis<N>;

/** The axis `name` with `size` elements. A text is a symbol, any number from 1; `symbol` declares one with bounds. */
export const axis = <const N extends string>(name: N, size: Dim | string): Axis<N> => ({
  name,
  size: typeof size === "string" ? symbol(size) : size,
});
