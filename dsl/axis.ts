/** Axes: a name and a size. An axis stands for one role; the same size in a second role is another axis. */
import type { Dim, NamedAxis } from "../compiler/index.ts";

export type Axis<N extends string = string> = NamedAxis<N>;

/** The axis `name` with `size` elements; a size may be a symbol such as "batch". */
export const axis = <const N extends string>(name: N, size: Dim): Axis<N> => ({ name, size });
