/**
 * Contractions of a few rows with a long matrix, as the steps of a decoder have them: a workgroup reads one row of the
 * matrix once, for all of the few, its threads sharing the sum. They are bound by reading the matrix, not by arithmetic.
 */

import { type Env, restrict, span } from "../fusion/access.ts";
import type { Placement } from "../fusion/groups.ts";
import { type Expr, element, float, floatArith, indexVar, int, type Var, variable } from "../kernel/expr.ts";
import type { ArrayDecl, Kernel, Stmt } from "../kernel/kernel.ts";
import { add, div, lt, mod, mul } from "../kernel/simplify.ts";
import { contractedAxes, neighbours, type Side, type Sides, storesOf } from "./contraction-sides.ts";
import { type Lowering, unflatten } from "./kernel.ts";

/** Rows whose sums the threads of a workgroup hold in registers. */
const fewRows = 8;

/** The few rows and the long side, where a contraction is one of few rows; `depth` is what it sums over. */
export function skinnySides(k: Lowering, sides: Sides, depth: number): Skinny | undefined {
  const { rows, columns, batch } = sides;
  const [few, long] = rows.size <= columns.size ? [rows, columns] : [columns, rows];
  const worthwhile = few.size <= fewRows && long.size > fewRows && depth >= 2 * k.schedule.rowThreads;
  return k.schedule.rowThreads > 1 && worthwhile ? { few, long, batch } : undefined;
}

export interface Skinny {
  readonly few: Side;
  readonly long: Side;
  readonly batch: Sides["batch"];
}

export function lowerSkinny(
  k: Lowering,
  places: Placement,
  { few, long, batch }: Skinny,
): Pick<Kernel, "body" | "grid" | "workgroup" | "arrays"> {
  const over = contractedAxes(k.fused.group!.cores[0]!);
  const depth = span(over);
  const threads = k.schedule.rowThreads;
  const lane = variable("lid", "i32", { min: 0, max: threads - 1 });
  const count = long.size * span(batch);
  const { grid, workgroup } = k.grid(count);
  const item = variable("row", "i32", { min: 0, max: count - 1 });

  const batchEnv = unflatten(div(item, int(long.size)), batch);
  const longEnv = unflatten(mod(item, int(long.size)), long.axes);
  const fewEnvs = Array.from({ length: few.size }, (_, i) => unflatten(int(i), few.axes));
  const sums = fewEnvs.map(() => variable(k.names.fresh("c"), "f32"));
  const isDeep = depth % 4 === 0 && neighbours(k, over, long, longEnv, batchEnv);
  const valueAt = (side: Side, ...envs: readonly Env[]): Expr =>
    k.values.at(side.operand, restrict(new Map(envs.flatMap((e) => [...e])), side.operand));

  const width = isDeep ? 4 : 1;
  const turn = indexVar(k.names.fresh("k"), depth / width);
  const step = (index: Expr): Stmt[] => {
    const at = unflatten(index, over);
    const { target, stmt } = k.let("r", valueAt(long, batchEnv, longEnv, at));
    const sum = (c: Var, env: Env): Stmt => {
      const product = floatArith("mul", valueAt(few, batchEnv, env, at), target);
      return { kind: "assign", target: c, value: floatArith("add", c, product) };
    };
    return [stmt, ...sums.map((c, i) => sum(c, fewEnvs[i]!))];
  };
  const slots: ArrayDecl = { name: k.names.fresh("s"), dtype: "f32", length: few.size * threads, space: "workgroup" };
  const slot = (i: number, at: Expr) => add(int(i * threads), at);
  const body: Stmt[] = [
    ...sums.map((target): Stmt => ({ kind: "var", target, value: float(0) })),
    {
      kind: "for",
      index: turn,
      from: lane,
      to: int(depth / width),
      step: threads,
      body: Array.from({ length: width }, (_, u) => step(add(mul(turn, int(width)), int(u)))).flat(),
    },
    ...sums.map((value, i): Stmt => ({ kind: "set", array: slots.name, index: slot(i, lane), value })),
    { kind: "barrier" },
    ...fold(slots, threads, few.size, lane, slot),
    {
      kind: "if",
      condition: { kind: "compare", dtype: "bool", op: "eq", a: lane, b: int(0) },
      body: fewEnvs.flatMap((env, i) =>
        storesOf(k, places, new Map([...batchEnv, ...env, ...longEnv]), element(slots.name, "f32", slot(i, int(0)))),
      ),
    },
  ];
  const isFull = lt(workgroup, int(count)).kind === "const";
  const inside: Expr = { kind: "compare", dtype: "bool", op: "lt", a: item, b: int(count) };
  return {
    body: [
      { kind: "let", target: item, value: workgroup },
      ...(isFull ? body : [{ kind: "if", condition: inside, body } as Stmt]),
    ],
    grid,
    workgroup: [threads, 1, 1],
    arrays: [slots],
  };
}

/** Adds up the threads' sums of every row, in halves: a barrier for each half serves all rows. */
function fold(
  slots: ArrayDecl,
  threads: number,
  rows: number,
  lane: Expr,
  slot: (i: number, at: Expr) => Expr,
): Stmt[] {
  const out: Stmt[] = [];
  const value = (index: Expr) => element(slots.name, "f32", index);
  for (let half = threads >> 1; half > 0; half >>= 1) {
    const body = Array.from({ length: rows }, (_, i): Stmt => {
      const sum = floatArith("add", value(slot(i, lane)), value(slot(i, add(lane, int(half)))));
      return { kind: "set", array: slots.name, index: slot(i, lane), value: sum };
    });
    out.push({ kind: "if", condition: lt(lane, int(half)), body }, { kind: "barrier" });
  }
  return out;
}
