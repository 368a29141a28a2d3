/**
 * What a contraction has to compute, as all its schedules see it: its sides, what it sums over, and what follows a result.
 * The axes that only one operand has are rows or columns, flattened; shared ones are batches.
 */
import { dimExpr, type Env, indexOver, restrict, spanOf } from "../../../fusion/index.ts";
import { type Dim, divideDims } from "../../../ir/dim.ts";
import type { Node } from "../../../ir/node.ts";
import { type Axis, findAxis, hasAxis } from "../../../ir/type.ts";
import { type Expr, int, type Stmt } from "../../../kernel/index.ts";
import { add, div, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { coordinatesOf } from "../../coordinates.ts";
import type { Lowering } from "../../kernel.ts";
import { advances } from "../../loops.ts";

/** One side of the product: its operand and its own axes. */
export interface Side {
  readonly operand: Node;
  readonly axes: readonly Axis[];
  readonly size: Dim;
}

export interface ContractionProblem {
  readonly k: Lowering;
  readonly rows: Side;
  /** The side of the result's last axis: its elements are neighbours in memory. */
  readonly columns: Side;
  readonly batch: readonly Axis[];
  /** The axes that are summed over, and how many indices they have. */
  readonly over: readonly Axis[];
  readonly depth: Dim;
}

export function contractionProblem(k: Lowering): ContractionProblem {
  const core = k.fused.group!.cores[0]!;
  const [a, b] = [core.operands[0]!, core.operands[1]!];
  const own = (x: Node, y: Node) => core.type.axes.filter((c) => hasAxis(x.type, c.name) && !hasAxis(y.type, c.name));
  const batch = core.type.axes.filter((c) => hasAxis(a.type, c.name) && hasAxis(b.type, c.name));
  const [left, right] = own(a, b).includes(core.type.axes.at(-1)!) ? [b, a] : [a, b];
  const side = (x: Node, y: Node): Side => ({ operand: x, axes: own(x, y), size: spanOf(own(x, y)) });
  const over = (core.attrs.over as string[]).map((n) => findAxis(a.type, n)!);
  return { k, rows: side(left, right), columns: side(right, left), batch, over, depth: spanOf(over) };
}

/** The side whose length is open until a run, where the other's is known. */
export function openSide({ rows, columns }: ContractionProblem): Side | undefined {
  const open = [rows, columns].filter((s) => typeof s.size !== "number");
  return open.length === 1 ? open[0] : undefined;
}

/** What is stored once a result is summed up: the result and everything elementwise that follows, at its indices. */
export function storesOf(k: Lowering, env: Env, sum: Expr): Stmt[] {
  const group = k.fused.group!;
  const core = group.cores[0]!;
  const { target, stmt } = k.let("d", sum);
  const at = coordinatesOf(group.rows, env);
  k.values.bind(core, restrict(env, core), target);
  return [stmt, ...k.storesAt(k.fused.stores, at)];
}

/** Whether every element of an operand is a half, or a constant that halves hold: f32 to which halves were widened are. */
export function holdsHalves({ k }: ContractionProblem, { operand }: Side): boolean {
  const env: Env = new Map(operand.type.axes.map((a) => [a.name, indexOver(k.names.fresh("k"), a.size)]));
  const isHalf = (e: Expr): boolean => {
    if (e.dtype === "f16") return true;
    if (e.kind === "const") return Math.f16round(e.value) === e.value;
    if (e.kind === "select") return isHalf(e.yes) && isHalf(e.no);
    return e.kind === "cast" && e.dtype === "f32" && e.a.dtype === "f16";
  };
  return operand.type.dtype === "f16" || isHalf(k.values.at(operand, env));
}

/** Whether an operand's elements along the innermost contracted axis are neighbours in memory. */
export function neighbours(k: Lowering, over: readonly Axis[], side: Side, ...envs: readonly Env[]): boolean {
  const last = over.at(-1)!;
  const counter = indexOver(k.names.fresh("k"), last.size);
  const along = [...over.slice(0, -1).map((a) => [a.name, int(0)] as const), [last.name, counter] as const];
  const all: Env = new Map([...envs.flatMap((e) => [...e]), ...along]);
  return advances(k.values.at(side.operand, restrict(all, side.operand)), counter);
}

/** An index held below `size`; where runs of `each` fit, by runs, so that the indices of one run stay neighbours. */
export function clamped(index: Expr, size: Dim, each: number): Expr {
  const runs = divideDims(size, each);
  if (runs === undefined || each === 1) return min(index, sub(dimExpr(size), int(1)));
  const run = min(div(index, int(each)), sub(dimExpr(runs), int(1)));
  return add(mul(run, int(each)), mod(index, int(each)));
}
