/** Which elements of a row a thread takes, and in what order. */
import { dimExpr, type Env, spanOf } from "../../../fusion/index.ts";
import { divideDims } from "../../../ir/dim.ts";
import type { Axis } from "../../../ir/type.ts";
import { type Expr, int, rangeOf, type Stmt, variable } from "../../../kernel/index.ts";
import { add, div, lt, min, mul, sub } from "../../../kernel/simplify.ts";
import { type Lowering, unflatten } from "../../kernel.ts";
import { loopOver, type Stride } from "../../loops.ts";

/** A thread's steps along a row; `first` and `step` count pieces of `elements`. */
export interface Steps extends Stride {
  /** Neighbouring elements per step; must divide the row; default 1. */
  readonly elements?: number;
  /** Unroll factor, so that several loads are in flight; default 1. */
  readonly unroll?: number;
  /** The maximum number of steps, if known: the loop is then fully unrolled, so that loads can stay in registers. */
  readonly turns?: number;
}

/** Processes neighbouring elements; if `inside` is given, they belong to the row only if it holds. */
type Body = (envs: readonly Env[], inside: Expr | undefined) => Stmt[];

/** Emits `body` for a thread's elements of a row: all of them, if threads do not share rows. */
export function elementsOfRow(k: Lowering, axes: readonly Axis[], body: Body, steps: Steps | undefined): Stmt[] {
  if (!steps) return loopOver(k, axes, (env) => body([env], undefined), { unroll: 4 });
  const { first, step, elements = 1, unroll = 1, turns } = steps;
  const pieces = divideDims(spanOf(axes), elements)!;
  const count = dimExpr(pieces);
  const piece = (index: Expr, inside?: Expr): Stmt[] => {
    const flat = Array.from({ length: elements }, (_, u) => add(mul(index, int(elements)), int(u)));
    return body(
      flat.map((i) => unflatten(i, axes)),
      inside,
    );
  };
  const loop = (from: Expr, to: Expr, by: number, inner: (index: Expr) => Stmt[]): Stmt => {
    const index = variable(k.names.fresh("k"), "i32", { min: 0, max: Math.max(0, rangeOf(to).max - 1) });
    return { kind: "for", index, from, to, step: by, body: inner(index) };
  };
  if (turns === undefined) {
    if (unroll === 1) return [loop(first, count, step, piece)];
    const whole = div(count, int(step * unroll));
    const several = (turn: Expr) =>
      Array.from({ length: unroll }, (_, u) =>
        piece(add(mul(turn, int(step * unroll)), add(int(u * step), first))),
      ).flat();
    return [loop(int(0), whole, 1, several), loop(add(mul(whole, int(step * unroll)), first), count, step, piece)];
  }
  return Array.from({ length: turns }, (_, turn) => {
    const index = add(first, int(turn * step));
    const inside = lt(index, count);
    if (inside.kind === "const") return inside.value === 0 ? [] : piece(index);
    return piece(min(index, sub(count, int(1))), inside);
  }).flat();
}
