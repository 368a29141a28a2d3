/** The coordinates of a kernel's group, and the indices of its nodes at given coordinates. */
import type { Env, Group, Placement } from "../fusion/index.ts";
import type { Node } from "../ir/node.ts";
import type { Expr } from "../kernel/index.ts";
import { substitute } from "../kernel/simplify.ts";

/** Values of a group's coordinates, by name. */
export type Coordinates = ReadonlyMap<string, Expr>;

/** The index of a placed node at given coordinates of its group. */
export const envAt = (node: Node, places: Placement, at: Coordinates): Env =>
  new Map([...places.get(node)!.env!].map(([name, index]) => [name, substitute(index, at)]));

/** Coordinates under the group's names, from indices of their axes. */
export const coordinatesOf = (coords: Group["rows"], env: Env): Map<string, Expr> =>
  new Map(coords.map((c) => [c.index.name, env.get(c.axis.name)!]));
