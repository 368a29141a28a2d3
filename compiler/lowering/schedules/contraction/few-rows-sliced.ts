/**
 * Contractions of a few rows with a long matrix whose neighbours in memory are different results, so that few-rows
 * would read elements far apart: split-K within a workgroup. Each thread accumulates some neighbouring results over a
 * slice of the sum, in registers; in the end the slices of each result are added up. Neither the rate nor the settings
 * were measured on a GPU.
 */
import { dimExpr, type Env, indexOver, restrict, spanOf, typical } from "../../../fusion/index.ts";
import { boundsOf } from "../../../ir/dim.ts";
import {
  type ArrayDecl,
  type Expr,
  element,
  float,
  floatArith,
  indexVar,
  int,
  type Stmt,
  variable,
} from "../../../kernel/index.ts";
import { add, div, lt, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { noSharing } from "../../facts.ts";
import { ceilDiv, type KernelCode, unflatten } from "../../kernel.ts";
import { ifInside } from "../../loops.ts";
import { range } from "../../range.ts";
import type { Fit, Schedule } from "../../schedule.ts";
import { bySideLength, type FewRowsProblem, fewCounts, fitsRows, isContiguousAcrossResults } from "./few-sides.ts";
import { type ContractionProblem, clamped, elementsOfLoad, type Side, severalProducts, storesOf } from "./problem.ts";

interface Slices extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Rows whose sums are held in registers. */
  readonly rows: number;
}

/** Results of a workgroup along the long side: wide enough to read one or more whole memory sectors. */
const columnsOfWorkgroup = 32;
/** Results per thread: eight halves are one 16-byte load. */
const mostColumns = 8;
/** Products of an unrolled iteration, whose loads are issued together: more cost registers but hide no latency. */
const productsOfTurn = 64;

export const fewRowsSliced: Schedule<ContractionProblem, Slices> = {
  name: "few-rows-sliced",
  summary:
    "matrix-vector products whose matrix is contiguous across results: split-K within a workgroup, with vector loads",
  // As many threads as have room for all of their sums in the workgroup memory that every adapter grants.
  settings: (facts) =>
    facts.software ? noSharing : fewCounts.map((rows) => ({ threads: rows <= 2 ? 256 : rows <= 4 ? 128 : 64, rows })),
  fits,
  byRange: true,
  cost: (_, { rows }) => rows,
  lower: (problem, settings) => lowerSlices(bySideLength(problem), settings),
};

function fits(problem: ContractionProblem, { threads, rows }: Slices): Fit {
  if (problem.products.length > 1) return severalProducts;
  const sides = bySideLength(problem);
  const fit = fitsRows(sides, rows);
  if (typeof fit === "string") return fit;
  if (!isContiguousAcrossResults(sides)) return "the long operand is not contiguous across results";
  const slices = (threads * mostColumns) / columnsOfWorkgroup;
  return typical(problem.depth) >= slices ? fit : `K is ${problem.depth}, too short to be split ${slices} ways`;
}

function lowerSlices(problem: FewRowsProblem, { threads, rows: most }: Slices): KernelCode {
  const { k, over, depth, batch, few, long } = problem;
  const rows = Math.min(most, boundsOf(few.size).max);
  const width = Math.min(mostColumns, elementsOfLoad(k, long.axes, long));
  const abreast = columnsOfWorkgroup / width; // threads that read neighbours
  const slices = threads / abreast;
  const [height, length] = [dimExpr(few.size), dimExpr(long.size)];
  const across = ceilDiv(length, columnsOfWorkgroup);
  const name = k.names.fresh("s");
  // Slices are laid out one after another, each with the sums of all rows.
  const ofSlice = rows * columnsOfWorkgroup;
  const arrays: ArrayDecl[] = [{ name, dtype: "f32", length: slices * ofSlice, space: "workgroup" }];
  const code = k.perWorkgroup(mul(across, dimExpr(spanOf(batch))), threads, (item, lane) => {
    const batchEnv = unflatten(div(item, across), batch);
    const base = mul(mod(item, across), int(columnsOfWorkgroup));
    const [slice, mine] = [div(lane, int(abreast)), mul(mod(lane, int(abreast)), int(width))];
    const valueAt = (side: Side, ...envs: readonly Env[]): Expr =>
      k.values.at(side.operand, restrict(new Map([batchEnv, ...envs].flatMap((e) => [...e])), side.operand));
    const longEnvs = range(width).map((u) =>
      unflatten(clamped(add(add(base, mine), int(u)), long.size, width), long.axes),
    );
    const fewEnvs = range(rows).map((i) => unflatten(min(int(i), sub(height, int(1))), few.axes));
    const sums = fewEnvs.map(() => longEnvs.map(() => variable(k.names.fresh("c"), "f32")));
    const step = (at: Env): Stmt[] => {
      const out: Stmt[] = [];
      const bound = (prefix: string, value: Expr) => {
        const { target, stmt } = k.let(prefix, value);
        out.push(stmt);
        return target;
      };
      const right = longEnvs.map((env) => bound("r", valueAt(long, env, at)));
      for (const [i, env] of fewEnvs.entries()) {
        const left = bound("l", valueAt(few, env, at));
        for (const [u, target] of sums[i]!.entries())
          out.push({ kind: "assign", target, value: floatArith("add", target, floatArith("mul", left, right[u]!)) });
      }
      return out;
    };
    const loop = (from: Expr, to: Expr, unroll: number): Stmt => {
      const index = indexOver(k.names.fresh("k"), depth);
      const body = range(unroll).flatMap((u) => step(unflatten(add(index, int(u * slices)), over)));
      return { kind: "for", index, from, to, step: unroll * slices, body };
    };
    const isLong = (turns: number) => typeof depth !== "number" || depth >= turns * slices;
    const unroll = [8, 4, 2].find((n) => n * rows * width <= productsOfTurn && isLong(n)) ?? 1;
    const whole = mul(div(dimExpr(depth), int(unroll * slices)), int(unroll * slices));
    const loops =
      unroll === 1
        ? [loop(slice, dimExpr(depth), 1)]
        : [loop(slice, whole, unroll), loop(add(whole, slice), dimExpr(depth), 1)];
    const sets = sums.flatMap((row, i) =>
      row.map((value, u): Stmt => {
        const index = add(add(mul(slice, int(ofSlice)), mine), int(i * columnsOfWorkgroup + u));
        return { kind: "set", array: name, index, value };
      }),
    );
    return [
      ...sums.flat().map((target): Stmt => ({ kind: "var", target, value: float(0) })),
      ...loops,
      ...sets,
      { kind: "barrier" },
      finish(lane, base, batchEnv),
    ];
  });
  return { ...code, arrays };

  /** Each thread adds up the slices of some results and stores those that lie within the bounds. */
  function finish(lane: Expr, base: Expr, batchEnv: Env): Stmt {
    const index = indexVar(k.names.fresh("e"), ofSlice);
    const total = variable(k.names.fresh("t"), "f32");
    const turn = indexVar(k.names.fresh("k"), slices);
    const [row, column] = [div(index, int(columnsOfWorkgroup)), add(base, mod(index, int(columnsOfWorkgroup)))];
    const value = floatArith("add", total, element(name, "f32", add(mul(turn, int(ofSlice)), index)));
    const env = new Map([
      ...batchEnv,
      ...unflatten(min(row, sub(height, int(1))), few.axes),
      ...unflatten(min(column, sub(length, int(1))), long.axes),
    ]);
    const stores = ifInside(lt(row, height), ifInside(lt(column, length), storesOf(k, env, total)));
    const body: Stmt[] = [
      { kind: "var", target: total, value: float(0) },
      {
        kind: "for",
        index: turn,
        from: int(0),
        to: int(slices),
        step: 1,
        body: [{ kind: "assign", target: total, value }],
      },
      ...stores,
    ];
    return { kind: "for", index, from: lane, to: int(ofSlice), step: threads, body };
  }
}
