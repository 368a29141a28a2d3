/**
 * What the ways of lowering a contraction share (in registers, from shared slabs, for few rows): its sides, what it sums over, and what follows a result.
 * The axes that only one operand has are a tile's rows and columns, flattened; shared ones are batches.
 */

import { type Env, restrict, span } from "../fusion/access.ts";
import type { Placement } from "../fusion/groups.ts";
import type { Node } from "../ir/node.ts";
import { type Axis, findAxis, hasAxis } from "../ir/type.ts";
import { type Expr, indexVar, int } from "../kernel/expr.ts";
import type { Stmt } from "../kernel/kernel.ts";
import type { Lowering } from "./kernel.ts";
import { advances } from "./loops.ts";
import { coordinatesOf, envAt } from "./row-reduction.ts";

/** One side of the product: its operand, its own axes and how many of their elements a thread takes. */
export interface Side {
  readonly operand: Node;
  readonly axes: readonly Axis[];
  readonly size: number;
  readonly tile: number;
}

/** The largest tile up to `most` that divides the size, or `most` itself where the waste is small. */
function tileFor(size: number, most: number): number {
  for (let tile = most; tile > most / 4; tile >>= 1) if (size % tile === 0) return tile;
  for (let tile = most; tile > 1; tile >>= 1) if (size >= 4 * tile) return tile;
  let tile = 1;
  while (tile * 2 <= Math.min(size, most)) tile *= 2;
  return tile;
}

export interface Sides {
  readonly rows: Side;
  readonly columns: Side;
  readonly batch: readonly Axis[];
}

export function sidesOf(core: Node, k: Lowering): Sides {
  const [a, b] = [core.operands[0]!, core.operands[1]!];
  const own = (x: Node, y: Node) => core.type.axes.filter((c) => hasAxis(x.type, c.name) && !hasAxis(y.type, c.name));
  const batch = core.type.axes.filter((c) => hasAxis(a.type, c.name) && hasAxis(b.type, c.name));
  // The columns are neighbours in memory: the side of the result's last axis.
  const last = core.type.axes.at(-1)!;
  const swap = own(a, b).includes(last);
  const [left, right] = swap ? [b, a] : [a, b];
  const { tile } = k.schedule;
  const side = (x: Node, y: Node, most: number): Side => {
    const axes = own(x, y);
    return { operand: x, axes, size: span(axes), tile: tileFor(span(axes), most) };
  };
  return { rows: side(left, right, tile.rows), columns: side(right, left, tile.columns), batch };
}

export const contractedAxes = (core: Node): readonly Axis[] =>
  (core.attrs.over as string[]).map((n) => findAxis(core.operands[0]!.type, n)!);

/** What is stored once a result is summed up: the result and everything elementwise that follows, at its indices. */
export function storesOf(k: Lowering, places: Placement, env: Env, sum: Expr): Stmt[] {
  const group = k.fused.group!;
  const core = group.cores[0]!;
  const { target, stmt } = k.let("d", sum);
  const at = coordinatesOf(group.rows, env);
  k.values.bind(core, restrict(env, core), target);
  return [stmt, ...k.stores(k.fused.stores.map((store) => ({ store, env: envAt(store.value, places, at) })))];
}

/** Whether an operand's elements along the innermost contracted axis are neighbours in memory. */
export function neighbours(k: Lowering, over: readonly Axis[], side: Side, ...envs: readonly Env[]): boolean {
  const last = over.at(-1)!;
  const counter = indexVar(k.names.fresh("k"), Number(last.size));
  const along = [...over.slice(0, -1).map((a) => [a.name, int(0)] as const), [last.name, counter] as const];
  const all: Env = new Map([...envs.flatMap((e) => [...e]), ...along]);
  return advances(k.values.at(side.operand, restrict(all, side.operand)), counter);
}
