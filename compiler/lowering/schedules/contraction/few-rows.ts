/**
 * Contractions of a few rows with a long matrix, as in decoding. They are bound by reading the matrix, not by
 * arithmetic: it is read once for all of the rows, in 16-byte loads of floats, and threads split each sum. Neither the
 * rate nor the settings were measured on a GPU.
 */
import {
  dimExpr,
  type Env,
  indexOver,
  isMultipleOf,
  restrict,
  spanOf,
  typical,
  typicalSpan,
} from "../../../fusion/index.ts";
import { boundsOf, type Dim, divideDims } from "../../../ir/dim.ts";
import {
  type ArrayDecl,
  barrier,
  type Expr,
  element,
  float,
  floatArith,
  int,
  type Stmt,
  subgroupCall,
  type Var,
  variable,
} from "../../../kernel/index.ts";
import { add, div, lt, mod, mul } from "../../../kernel/simplify.ts";
import { type AdapterFacts, noSharing, subgroupLanes } from "../../facts.ts";
import { ceilDiv, guarded, type KernelCode, unflatten } from "../../kernel.ts";
import { ifInside } from "../../loops.ts";
import { range } from "../../range.ts";
import type { Fit, Schedule } from "../../schedule.ts";
import {
  bySideLength,
  type FewRowsProblem,
  fewCounts,
  fitsRows,
  type Item,
  isContiguousAcrossResults,
  itemsFrom,
} from "./few-sides.ts";
import { type ContractionProblem, elementsOfLoad, isContiguous, type Side, storesOf, withoutScale } from "./problem.ts";

interface FewRows extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Threads that split a sum: those of a subgroup; 0 if its size is unknown, and a whole workgroup splits it. */
  readonly lanes: number;
  /** Rows whose sums are held in registers. */
  readonly rows: number;
  /** Rows of the long side that one load of the few rows serves. */
  readonly outputs: number;
}

/** The number of thread groups that saturates the memory of a large GPU. */
const manyGroups = 1024;

/**
 * The most elements that a thread takes at once, even if one load has more: it is the stride at which adjacent threads
 * read the few rows, and at a larger one their loads would share no cache lines.
 */
const mostNeighbours = 8;

/** Rows of all long sides together per thread, if there are several products. */
const mostOfSeveral = 6;

/** Products of an unrolled iteration, whose loads are issued together: more cost registers but hide no latency. */
const productsOfTurn = 128;

export const fewRows: Schedule<ContractionProblem, FewRows> = {
  name: "few-rows",
  summary: "matrix-vector products of up to 8 rows: the matrix is read once, with vector loads, and threads split K",
  settings: (facts) => (facts.software ? noSharing : fewCounts.flatMap((rows) => settingsFor(rows, facts))),
  fits,
  byRange: true,
  cost,
  lower: (problem, settings) => new SharedSums(bySideLength(problem), settings).run(),
};

function settingsFor(rows: number, facts: AdapterFacts): FewRows[] {
  const threads = 64;
  const lanes = subgroupLanes(facts) ?? 0;
  return [1, 2, 4].map((outputs) => ({ threads, lanes: lanes <= threads ? lanes : 0, rows, outputs }));
}

function fits(problem: ContractionProblem, { threads, lanes, rows, outputs }: FewRows): Fit {
  const sides = bySideLength(problem);
  const sharing = lanes || threads;
  const fit = fitsRows(sides, rows);
  if (typeof fit === "string") return fit;
  if (isContiguousAcrossResults(sides)) return "the long operand is contiguous across results, not along K";
  const products = problem.products.length;
  if (products > 1 && outputs * products > mostOfSeveral)
    return `the accumulators of ${products} products take too many registers`;
  const isLong = typical(problem.depth) >= 2 * sharing;
  return isLong ? fit : `K is ${problem.depth}, too short to be split among ${sharing} threads`;
}

/** Loads per element of the long side: the element itself, and the few rows', shared by `outputs` rows of it. */
function cost(problem: ContractionProblem, { rows, outputs }: FewRows): number {
  const groups = (typical(bySideLength(problem).long.size) * typicalSpan(problem.batch)) / outputs;
  return (1 + rows / (outputs * problem.products.length)) * Math.max(1, manyGroups / groups);
}

class SharedSums {
  private readonly p: FewRowsProblem;
  private readonly s: FewRows;
  private readonly rows: number;
  /** The long sides of all products. */
  private readonly matrices: readonly Side[];
  /** Elements of the long side that a thread takes per iteration. */
  private readonly width: number;

  constructor(problem: FewRowsProblem, settings: FewRows) {
    this.p = problem;
    this.s = settings;
    this.rows = Math.min(settings.rows, boundsOf(problem.few.size).max);
    const { k, over, products } = problem;
    this.matrices = products.map((sides) => bySideLength({ ...problem, ...sides }).long);
    const widths = this.matrices.map((m) => (isContiguous(k, over, m) ? elementsOfLoad(k, over, m) : 1));
    this.width = Math.min(mostNeighbours, ...widths);
  }

  run(): KernelCode {
    const { k, long, batch } = this.p;
    const { threads, lanes, outputs } = this.s;
    const across = ceilDiv(dimExpr(long.size), outputs);
    const count = mul(across, dimExpr(spanOf(batch)));
    const arrays: ArrayDecl[] = [];
    if (lanes === 0) {
      const code = k.perWorkgroup(count, threads, (item, lane) => this.team(item, across, lane, threads, arrays));
      return { ...code, arrays };
    }
    const each = threads / lanes;
    const subgroup = variable("subgroup_id", "i32", { min: 0, max: each - 1 });
    const lane = variable("lane", "i32", { min: 0, max: lanes - 1 });
    const code = k.perWorkgroup(ceilDiv(count, each), threads, (workgroup) => {
      const index = add(mul(workgroup, int(each)), subgroup);
      return guarded(k.names.fresh("i"), index, count, (item) => this.team(item, across, lane, lanes));
    });
    return { ...code, subgroupSize: lanes };
  }

  /** The code of threads that split the sums of some rows of the long side: a whole workgroup if `arrays` is given. */
  private team(item: Expr, across: Expr, lane: Expr, threads: number, arrays?: ArrayDecl[]): Stmt[] {
    const { k, few, long, batch } = this.p;
    const batchEnv = unflatten(div(item, across), batch);
    const longs = itemsFrom(long, mul(mod(item, across), int(this.s.outputs)), this.s.outputs);
    const fews = itemsFrom(few, int(0), this.rows);
    const sums = this.matrices.flatMap(() => longs.map(() => fews.map(() => variable(k.names.fresh("c"), "f32"))));
    const chunk = (turn: Expr) => this.chunk(turn, batchEnv, longs, fews, sums);
    const out: Stmt[] = sums.flat().map((target) => ({ kind: "var", target, value: float(0) }));
    out.push(...this.turns(lane, threads, chunk));
    const totals = arrays ? this.folded(sums.flat(), lane, threads, arrays, out) : this.added(sums.flat(), out);
    const stores = longs.flatMap((l, o) =>
      fews.flatMap((f, i) => {
        const own = this.matrices.map((_, m) => totals[(m * longs.length + o) * fews.length + i]!);
        const body = storesOf(k, new Map([...batchEnv, ...f.env, ...l.env]), ...own);
        return ifInside(f.inside, ifInside(l.inside, body));
      }),
    );
    const first: Expr = { kind: "compare", dtype: "bool", op: "eq", a: lane, b: int(0) };
    return [...out, { kind: "if", condition: first, body: stores }];
  }

  /** Loops over a thread's share of the sum: an unrolled one, to have several loads in flight, and its remainder. */
  private turns(lane: Expr, threads: number, chunk: (turn: Expr) => Stmt[]): Stmt[] {
    const { k, depth } = this.p;
    const turns = divideDims(depth, this.width)!;
    const count = dimExpr(turns);
    const loop = (from: Expr, to: Expr, unroll: number): Stmt => {
      const index = indexOver(k.names.fresh("k"), turns);
      const body = range(unroll).flatMap((u) => chunk(add(index, int(u * threads))));
      return { kind: "for", index, from, to, step: unroll * threads, body };
    };
    const unroll = this.unroll(turns, threads);
    if (unroll === 1) return [loop(lane, count, 1)];
    const step = unroll * threads;
    const whole = mul(div(count, int(step)), int(step));
    if (isMultipleOf(turns, step)) return [loop(lane, count, unroll)];
    return [loop(lane, whole, unroll), loop(add(whole, lane), count, 1)];
  }

  private unroll(turns: Dim, threads: number): number {
    const products = this.width * this.rows * this.s.outputs * this.matrices.length;
    return (
      [4, 2].find((n) => n * products <= productsOfTurn && (typeof turns !== "number" || turns >= n * threads)) ?? 1
    );
  }

  /** Adds the products of `width` neighbouring steps to every sum. */
  private chunk(
    turn: Expr,
    batchEnv: Env,
    longs: readonly Item[],
    fews: readonly Item[],
    sums: readonly (readonly Var[])[],
  ): Stmt[] {
    const { k, over, few } = this.p;
    const out: Stmt[] = [];
    const at = range(this.width).map((u) => unflatten(add(mul(turn, int(this.width)), int(u)), over));
    const bound = (prefix: string, value: Expr): Expr => {
      const { target, stmt } = k.let(prefix, value);
      out.push(stmt);
      return target;
    };
    const valuesOf = (side: Side, { env }: Item) =>
      at.map((one) => k.values.at(side.operand, restrict(new Map([...batchEnv, ...env, ...one]), side.operand)));
    const matrix = this.matrices.flatMap((side) => longs.map((item) => withoutScale(valuesOf(side, item))));
    const right = matrix.map(({ values }) => values.map((v) => bound("r", v)));
    for (const [i, item] of fews.entries()) {
      const left = valuesOf(few, item).map((v) => bound("l", v));
      for (const [o, { scale }] of matrix.entries()) {
        const target = sums[o]![i]!;
        const products: Expr[] = left.map((l, u) => floatArith("mul", l, right[o]![u]!));
        if (scale) {
          const sum = bound("p", products.reduce(plus));
          out.push({ kind: "assign", target, value: plus(target, floatArith("mul", sum, scale)) });
        } else
          for (let u = 0; u < products.length; u += 4)
            out.push({ kind: "assign", target, value: products.slice(u, u + 4).reduce(plus, target) });
      }
    }
    return out;
  }

  /** The sums over all lanes of a subgroup, in every lane. */
  private added(sums: readonly Var[], out: Stmt[]): Expr[] {
    return sums.map((sum) => {
      const { target, stmt } = this.p.k.let("t", subgroupCall("add", sum));
      out.push(stmt);
      return target;
    });
  }

  /** The sums over all threads of a workgroup, by a tree reduction: one barrier per level serves all sums. */
  private folded(sums: readonly Var[], lane: Expr, threads: number, arrays: ArrayDecl[], out: Stmt[]): Expr[] {
    const name = this.p.k.names.fresh("s");
    arrays.push({ name, dtype: "f32", length: sums.length * threads, space: "workgroup" });
    const slot = (i: number, at: Expr) => add(int(i * threads), at);
    const value = (index: Expr) => element(name, "f32", index);
    out.push(...sums.map((sum, i): Stmt => ({ kind: "set", array: name, index: slot(i, lane), value: sum })));
    out.push(barrier);
    for (let half = threads >> 1; half > 0; half >>= 1) {
      const body = sums.map((_, i): Stmt => {
        const sum = floatArith("add", value(slot(i, lane)), value(slot(i, add(lane, int(half)))));
        return { kind: "set", array: name, index: slot(i, lane), value: sum };
      });
      out.push({ kind: "if", condition: lt(lane, int(half)), body }, barrier);
    }
    return sums.map((_, i) => value(slot(i, int(0))));
  }
}

const plus = (a: Expr, b: Expr): Expr => floatArith("add", a, b);
