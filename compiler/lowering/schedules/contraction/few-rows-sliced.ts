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
  barrier,
  type Expr,
  element,
  float,
  floatArith,
  indexVar,
  int,
  type Stmt,
  type Var,
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
  lower: (problem, settings) => new SlicedSums(bySideLength(problem), settings).run(),
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

class SlicedSums {
  private readonly p: FewRowsProblem;
  private readonly rows: number;
  private readonly threads: number;
  /** Neighbouring results of a thread. */
  private readonly width: number;
  /** Slices of each sum. */
  private readonly slices: number;
  /** The workgroup's sums: slices one after another, each with those of all rows. */
  private readonly sums: ArrayDecl;
  /** Elements of `sums` per slice. */
  private readonly ofSlice: number;

  constructor(problem: FewRowsProblem, settings: Slices) {
    const { k, few, long } = problem;
    this.p = problem;
    this.threads = settings.threads;
    this.rows = Math.min(settings.rows, boundsOf(few.size).max);
    this.width = Math.min(mostColumns, elementsOfLoad(k, long.axes, long));
    this.slices = (this.threads * this.width) / columnsOfWorkgroup;
    this.ofSlice = this.rows * columnsOfWorkgroup;
    const length = this.slices * this.ofSlice;
    this.sums = { name: k.names.fresh("s"), dtype: "f32", length, space: "workgroup" };
  }

  run(): KernelCode {
    const { k, long, batch } = this.p;
    const across = ceilDiv(dimExpr(long.size), columnsOfWorkgroup);
    const code = k.perWorkgroup(mul(across, dimExpr(spanOf(batch))), this.threads, (item, lane) => {
      const batchEnv = unflatten(div(item, across), batch);
      const base = mul(mod(item, across), int(columnsOfWorkgroup));
      return [...this.accumulate(lane, base, batchEnv), barrier, this.finish(lane, base, batchEnv)];
    });
    return { ...code, arrays: [this.sums] };
  }

  /** Each thread accumulates its slice of some neighbouring results, and leaves the sums in workgroup memory. */
  private accumulate(lane: Expr, base: Expr, batchEnv: Env): Stmt[] {
    const { k, few, long } = this.p;
    const abreast = columnsOfWorkgroup / this.width; // threads that read neighbours
    const [slice, mine] = [div(lane, int(abreast)), mul(mod(lane, int(abreast)), int(this.width))];
    const longs = range(this.width).map((u) =>
      unflatten(clamped(add(add(base, mine), int(u)), long.size, this.width), long.axes),
    );
    const last = sub(dimExpr(few.size), int(1));
    const fews = range(this.rows).map((i) => unflatten(min(int(i), last), few.axes));
    const sums = fews.map(() => longs.map(() => variable(k.names.fresh("c"), "f32")));
    const sets = sums.flatMap((row, i) =>
      row.map((value, u): Stmt => {
        const index = add(add(mul(slice, int(this.ofSlice)), mine), int(i * columnsOfWorkgroup + u));
        return { kind: "set", array: this.sums.name, index, value };
      }),
    );
    return [
      ...sums.flat().map((target): Stmt => ({ kind: "var", target, value: float(0) })),
      ...this.turns(slice, (at) => this.products(batchEnv, fews, longs, sums, at)),
      ...sets,
    ];
  }

  /** Loops over the terms of a slice: an unrolled one, to have several loads in flight, and its remainder. */
  private turns(slice: Expr, term: (at: Env) => Stmt[]): Stmt[] {
    const { k, over, depth } = this.p;
    const loop = (from: Expr, to: Expr, unroll: number): Stmt => {
      const index = indexOver(k.names.fresh("k"), depth);
      const body = range(unroll).flatMap((u) => term(unflatten(add(index, int(u * this.slices)), over)));
      return { kind: "for", index, from, to, step: unroll * this.slices, body };
    };
    const isLong = (turns: number) => typeof depth !== "number" || depth >= turns * this.slices;
    const unroll = [8, 4, 2].find((n) => n * this.rows * this.width <= productsOfTurn && isLong(n)) ?? 1;
    if (unroll === 1) return [loop(slice, dimExpr(depth), 1)];
    const step = int(unroll * this.slices);
    const whole = mul(div(dimExpr(depth), step), step);
    return [loop(slice, whole, unroll), loop(add(whole, slice), dimExpr(depth), 1)];
  }

  /** Adds the product of one term to every sum. */
  private products(
    batchEnv: Env,
    fews: readonly Env[],
    longs: readonly Env[],
    sums: readonly (readonly Var[])[],
    at: Env,
  ): Stmt[] {
    const { k, few, long } = this.p;
    const out: Stmt[] = [];
    const bound = (prefix: string, side: Side, env: Env): Expr => {
      const all = new Map([...batchEnv, ...env, ...at]);
      const { target, stmt } = k.let(prefix, k.values.at(side.operand, restrict(all, side.operand)));
      out.push(stmt);
      return target;
    };
    const right = longs.map((env) => bound("r", long, env));
    for (const [i, env] of fews.entries()) {
      const left = bound("l", few, env);
      for (const [u, target] of sums[i]!.entries())
        out.push({ kind: "assign", target, value: plus(target, floatArith("mul", left, right[u]!)) });
    }
    return out;
  }

  /** Each thread adds up the slices of some results and stores those that lie within the bounds. */
  private finish(lane: Expr, base: Expr, batchEnv: Env): Stmt {
    const { k, few, long } = this.p;
    const [height, length] = [dimExpr(few.size), dimExpr(long.size)];
    const index = indexVar(k.names.fresh("e"), this.ofSlice);
    const total = variable(k.names.fresh("t"), "f32");
    const turn = indexVar(k.names.fresh("k"), this.slices);
    const [row, column] = [div(index, int(columnsOfWorkgroup)), add(base, mod(index, int(columnsOfWorkgroup)))];
    const value = plus(total, element(this.sums.name, "f32", add(mul(turn, int(this.ofSlice)), index)));
    const env = new Map([
      ...batchEnv,
      ...unflatten(min(row, sub(height, int(1))), few.axes),
      ...unflatten(min(column, sub(length, int(1))), long.axes),
    ]);
    const sum: Stmt[] = [{ kind: "assign", target: total, value }];
    const body: Stmt[] = [
      { kind: "var", target: total, value: float(0) },
      { kind: "for", index: turn, from: int(0), to: int(this.slices), step: 1, body: sum },
      ...ifInside(lt(row, height), ifInside(lt(column, length), storesOf(k, env, total))),
    ];
    return { kind: "for", index, from: lane, to: int(this.ofSlice), step: this.threads, body };
  }
}

const plus = (a: Expr, b: Expr): Expr => floatArith("add", a, b);
