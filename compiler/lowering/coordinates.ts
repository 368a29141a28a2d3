/** Coordinates of a kernel's group as values, and the indices of nodes at them. */
import type { Env } from "../fusion/access.ts";
import type { Group, Placement } from "../fusion/groups.ts";
import type { Node } from "../ir/node.ts";
import type { Expr } from "../kernel/expr.ts";
import { substitute } from "../kernel/simplify.ts";

/** Values of a group's coordinates, by the name of the coordinate. */
export type Coordinates = ReadonlyMap<string, Expr>;

/** The index of a placed node once the group's coordinates have values. */
export const envAt = (node: Node, places: Placement, at: Coordinates): Env =>
  new Map([...places.get(node)!.env!].map(([name, index]) => [name, substitute(index, at)]));

/** Coordinates, named as the group names them, from indices of their axes. */
export const coordinatesOf = (coords: Group["rows"], env: Env): Map<string, Expr> =>
  new Map(coords.map((c) => [c.index.name, env.get(c.axis.name)!]));
