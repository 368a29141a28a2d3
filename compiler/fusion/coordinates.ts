/** The coordinates of a group, and how the axes of nodes map to them. */
import { productOfDims } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { children, type Expr } from "../kernel/index.ts";
import type { Env } from "./access.ts";
import type { Coordinate, Group } from "./groups.ts";
import { indexOver, isOne, spanOf, typicalSpan } from "./sizes.ts";

export const coordinates = (axes: readonly Axis[], prefix: string): Coordinate[] =>
  axes.map((axis, i) => ({ index: indexOver(`${prefix}${i}`, axis.size), axis }));

/**
 * True for a reduction with so few and so long rows that its threads could not store whole rows efficiently:
 * elementwise results over those rows get a kernel of their own, with a thread per element.
 */
export const fewRows = ({ rows, reduced }: Group): boolean =>
  typicalSpan(rows.map((c) => c.axis)) < 64 && typicalSpan(reduced.map((c) => c.axis)) >= 16384;

/** Coordinates for the axes of another reduction if its rows and reduced axes match the group's, by name or order. */
export function matchAxes(group: Group, rows: readonly Axis[], over: readonly Axis[]): Map<string, Expr> | undefined {
  const names = new Map<string, Expr>();
  const match = (axes: readonly Axis[], coords: readonly Coordinate[]): boolean => {
    if (axes.length !== coords.length) return false;
    const byName = axes.every((a) => coords.some((c) => c.index === group.names.get(a.name) && c.axis.size === a.size));
    return axes.every((a, i) => {
      const known = group.names.get(a.name);
      const index = byName ? known! : coords[i]!.index;
      if (!byName && (coords[i]!.axis.size !== a.size || (known !== undefined && known !== index))) return false;
      names.set(a.name, index);
      return true;
    });
  };
  return match(rows, group.rows) && match(over, group.reduced) && new Set(names.values()).size === names.size
    ? names
    : undefined;
}

/** Whether the coordinates visit each element of a node exactly once; not if two axes share one, as in x · xᵀ. */
export function coversOnce(env: Env, node: Node, group: Group): boolean {
  const used = new Set<string>();
  const visit = (e: Expr): void => {
    if (e.kind === "var") used.add(e.name);
    for (const c of children(e)) visit(c);
  };
  for (const { name } of node.type.axes) visit(env.get(name)!);
  return spanOf(node.type.axes) === productOfDims([...used].map((name) => group.extents.get(name)!));
}

/** The axes of size other than 1: axes of size 1 do not distinguish iteration spaces. */
export const spaceOf = (node: Node): readonly Axis[] => node.type.axes.filter((a) => !isOne(a.size));

/** The same axes, in any order. */
export const sameSpace = (a: Node, b: Node): boolean => {
  const [x, y] = [spaceOf(a), spaceOf(b)];
  return x.length === y.length && x.every(({ name, size }) => findAxis(b.type, name)?.size === size);
};
