/**
 * Contractions of a few rows with a long matrix, as the steps of a decoder have them: a workgroup reads one row of the
 * matrix once, for all of the few, its threads sharing the sum. They are bound by reading the matrix, not by arithmetic.
 */
import { dimExpr, type Env, indexOver, isMultipleOf, restrict, spanOf, typical } from "../../../fusion/index.ts";
import { boundsOf, divideDims } from "../../../ir/dim.ts";
import {
  type ArrayDecl,
  type Expr,
  element,
  float,
  floatArith,
  int,
  type Stmt,
  type Var,
  variable,
} from "../../../kernel/index.ts";
import { add, div, lt, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { noSharing } from "../../facts.ts";
import { type KernelCode, unflatten } from "../../kernel.ts";
import type { Fit, Schedule } from "../../schedule.ts";
import { type ContractionProblem, neighbours, type Side, storesOf } from "./problem.ts";

interface FewRows extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Rows whose sums the threads of a workgroup hold in registers. */
  readonly rows: number;
}

/** More rows than this are no few: their sums would take too many registers. */
const most = 8;

export const fewRows: Schedule<ContractionProblem, FewRows> = {
  name: "few-rows",
  summary: "a workgroup reads a row of the long side once, for all of the few rows of the other",
  // Where the number of rows is open until a run: one for decoding token by token, and the most.
  settings: (facts) =>
    facts.software ? noSharing : [1, 2, 3, 4, 5, 6, 7, most].map((rows) => ({ threads: 64, rows })),
  fits,
  byRange: true,
  cost: (_, { rows }) => rows,
  lower: lowerFewRows,
};

/** The few rows and the long side; where the number of rows is open until a run, they may turn out few. */
function sidesOf({ rows, columns }: ContractionProblem): { readonly few: Side; readonly long: Side } {
  const isFewer = (a: Side, b: Side) =>
    typeof a.size === "number" ? !(typeof b.size === "number" ? b.size < a.size : a.size > most) : !isFew(b);
  return isFewer(rows, columns) ? { few: rows, long: columns } : { few: columns, long: rows };
}

const isFew = ({ size }: Side): boolean => typeof size === "number" && size <= most;

function fits(problem: ContractionProblem, { threads, rows }: FewRows): Fit {
  const { few, long } = sidesOf(problem);
  if (typeof few.size === "number" && few.size > most) return `both sides have more than ${most} rows`;
  if (typical(long.size) <= most) return `neither side has more than ${most} rows`;
  if (typical(problem.depth) < 2 * threads)
    return `a sum of ${problem.depth} is too short for ${threads} threads to share`;
  if (typeof few.size === "number") return few.size === rows || `there are ${few.size} rows`;
  return rows === 1 || rows === most ? { assuming: [{ dim: few.size, max: rows }] } : "rows are open until a run";
}

function lowerFewRows(problem: ContractionProblem, { threads, rows: most }: FewRows): KernelCode {
  const { k, over, depth, batch } = problem;
  const { few, long } = sidesOf(problem);
  const rows = Math.min(most, boundsOf(few.size).max);
  const arrays: ArrayDecl[] = [];
  const size = dimExpr(few.size);
  const code = k.perWorkgroup(mul(dimExpr(long.size), dimExpr(spanOf(batch))), threads, (item, lane) => {
    const batchEnv = unflatten(div(item, dimExpr(long.size)), batch);
    const longEnv = unflatten(mod(item, dimExpr(long.size)), long.axes);
    const fewEnvs = range(rows).map((i) => unflatten(min(int(i), sub(size, int(1))), few.axes));
    const sums = fewEnvs.map(() => variable(k.names.fresh("c"), "f32"));
    const isDeep = isMultipleOf(depth, 4) && neighbours(k, over, long, longEnv, batchEnv);
    const valueAt = (side: Side, ...envs: readonly Env[]): Expr =>
      k.values.at(side.operand, restrict(new Map(envs.flatMap((e) => [...e])), side.operand));
    const step = (at: Env): Stmt[] => {
      const { target, stmt } = k.let("r", valueAt(long, batchEnv, longEnv, at));
      const sum = (c: Var, env: Env): Stmt => {
        const product = floatArith("mul", valueAt(few, batchEnv, env, at), target);
        return { kind: "assign", target: c, value: floatArith("add", c, product) };
      };
      return [stmt, ...sums.map((c, i) => sum(c, fewEnvs[i]!))];
    };
    const width = isDeep ? 4 : 1;
    const turns = divideDims(depth, width)!;
    const turn = indexOver(k.names.fresh("k"), turns);
    const body = range(width).flatMap((u) => step(unflatten(add(mul(turn, int(width)), int(u)), over)));
    const loop: Stmt = { kind: "for", index: turn, from: lane, to: dimExpr(turns), step: threads, body };
    const array: ArrayDecl = { name: k.names.fresh("s"), dtype: "f32", length: rows * threads, space: "workgroup" };
    arrays.push(array);
    const slot = (i: number, at: Expr) => add(int(i * threads), at);
    const stores = fewEnvs.flatMap((env, i): Stmt[] => {
      const inside = lt(int(i), size);
      const body = storesOf(k, new Map([...batchEnv, ...env, ...longEnv]), element(array.name, "f32", slot(i, int(0))));
      return inside.kind === "const" ? body : [{ kind: "if", condition: inside, body }];
    });
    return [
      ...sums.map((target): Stmt => ({ kind: "var", target, value: float(0) })),
      loop,
      ...sums.map((value, i): Stmt => ({ kind: "set", array: array.name, index: slot(i, lane), value })),
      { kind: "barrier" },
      ...fold(array, threads, rows, lane, slot),
      { kind: "if", condition: { kind: "compare", dtype: "bool", op: "eq", a: lane, b: int(0) }, body: stores },
    ];
  });
  return { ...code, arrays };
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

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
