/**
 * Contractions in which the lanes of a subgroup compute a tile of results together. Each lane computes four columns of
 * the tile for all of its rows; it loads elements of some rows and shares them with the other lanes. When kernels run
 * on CPU threads a load costs as much as a dozen products, and a shuffle no more than two. The generated code is short,
 * for drivers that compile slowly: sums are vectors if registers hold them, and one loop stores all rows.
 */
import { dimExpr, type Env, isMultipleOf, restrict, spanOf, typical } from "../../../fusion/index.ts";
import type { Dim } from "../../../ir/dim.ts";
import {
  type ArrayDecl,
  bool,
  component,
  construct,
  type Expr,
  element,
  float,
  floatArith,
  indexVar,
  int,
  type Stmt,
  subgroupCall,
  type Var,
  variable,
  variableFor,
} from "../../../kernel/index.ts";
import { add, div, lt, min, mod, mul, select, sub } from "../../../kernel/simplify.ts";
import { onlySoftware, onlySubgroupSize } from "../../facts.ts";
import { ceilDiv, type KernelCode, unflatten } from "../../kernel.ts";
import { loopOverIterations } from "../../loops.ts";
import { range } from "../../range.ts";
import type { Schedule } from "../../schedule.ts";
import { compiledAndRun, typicalOnThreads } from "../compile-time.ts";
import { type ContractionProblem, clamped, severalProducts, storesOf } from "./problem.ts";

export interface SubgroupTile extends Readonly<Record<string, number>> {
  /** The adapter's only subgroup size. */
  readonly lanes: number;
  /** Rows of the tile, a multiple of the lanes. */
  readonly rows: number;
  /** Unroll factor of the sum: steps that are contiguous in memory are loaded together. */
  readonly steps: number;
}

/** Columns per lane: as many as one memory access holds. */
export const perLane = 4;

export const subgroupTiles: Schedule<ContractionProblem, SubgroupTile> = {
  name: "subgroup-tiles",
  summary:
    "a subgroup computes a tile of results: each lane some columns, with the elements of rows exchanged by shuffles",
  features: ["subgroups"],
  settings: (facts) => {
    if (!facts.software) return onlySoftware;
    const lanes = onlySubgroupSize(facts);
    if (typeof lanes === "string") return lanes;
    const rows = [16, 8, 4].filter((n) => n % lanes === 0);
    return rows.length > 0
      ? rows.flatMap((n) => [4, 1].map((steps) => ({ lanes, rows: n, steps })))
      : `a subgroup of ${lanes} lanes is larger than its tiles`;
  },
  fits: ({ rows, columns, products }, { lanes }) => {
    if (products.length > 1) return severalProducts;
    if (2 * typical(rows.size) < lanes) return `${rows.size} rows are too few for a subgroup of ${lanes} lanes`;
    return typical(columns.size) >= lanes || `${columns.size} columns are fewer than the ${lanes} lanes of a subgroup`;
  },
  cost: (problem, tile) => compiledAndRun(compileTime(problem, tile), runTime(problem, tile)),
  lower: (problem, tile) => new TileLowering(problem, tile).run(),
};

/** The unroll factor of a sum: it need not divide the number of terms, as a remainder loop can take the rest. */
const unrollOf = (terms: Dim, steps: number): number =>
  [steps, 2].find((n) => isMultipleOf(terms, n) || (typeof terms === "number" && terms >= 2 * n)) ?? 1;

/** Milliseconds, measured on SwiftShader: a loop body has a multiply-accumulate for each result and step. */
function compileTime({ depth }: ContractionProblem, { rows, steps }: SubgroupTile): number {
  const unroll = unrollOf(depth, steps);
  const remainder = isMultipleOf(depth, unroll) ? 0 : 1;
  return 40 + 0.85 * rows * perLane * (unroll + remainder);
}

/** Milliseconds, measured on SwiftShader. Loads shared by all rows of a tile cost about as much as four rows. */
function runTime({ rows, columns, depth, batch }: ContractionProblem, tile: SubgroupTile): number {
  const down = Math.ceil(typicalOnThreads(rows.size) / tile.rows) * (tile.rows + 4);
  const each = unrollOf(depth, tile.steps) > 1 ? 0.8e-6 : 1.2e-6;
  return each * down * [columns.size, depth, spanOf(batch)].map(typicalOnThreads).reduce((n, size) => n * size);
}

export class TileLowering {
  protected readonly p: ContractionProblem;
  protected readonly tile: SubgroupTile;
  protected readonly lane: Var;
  private readonly arrays: ArrayDecl[] = [];
  /** Whether each column's sum is a scalar variable of its own. */
  private readonly apart: boolean;

  constructor(problem: ContractionProblem, tile: SubgroupTile) {
    this.p = problem;
    this.tile = tile;
    // With four lanes (SwiftShader) a vec4 takes four registers, of which there are few.
    this.apart = tile.lanes <= 4;
    this.lane = variable("lane", "i32", { min: 0, max: tile.lanes - 1 });
  }

  run(): KernelCode {
    const { k, rows, columns, batch } = this.p;
    const { lanes } = this.tile;
    const down = ceilDiv(dimExpr(rows.size), this.tile.rows);
    const across = ceilDiv(dimExpr(columns.size), perLane * lanes);
    // A workgroup is one subgroup, so control flow around subgroup operations is uniform.
    const code = k.perWorkgroup(mul(mul(down, across), dimExpr(spanOf(batch))), lanes, (item) => {
      const out: Stmt[] = [];
      const line = div(item, across);
      // With a single batch no remainder is needed, however many rows there are.
      const isAlone = spanOf(batch) === 1 && down.kind !== "const";
      const batchEnv = unflatten(isAlone ? int(0) : this.bound(out, "z", div(item, mul(across, down))), batch);
      const row = mul(this.bound(out, "m", isAlone ? line : mod(line, down)), int(this.tile.rows));
      return [...out, ...this.tileAt(row, mod(item, across), batchEnv)];
    });
    return this.finished(code);
  }

  protected finished(code: KernelCode): KernelCode {
    return { ...code, arrays: this.arrays, subgroupSize: this.tile.lanes };
  }

  /** The tile of results that starts at `row`; `number` is its position along the columns. */
  protected tileAt(row: Expr, number: Expr, batchEnv: Env): Stmt[] {
    const { k, over } = this.p;
    const { lanes, steps } = this.tile;
    const out: Stmt[] = [];
    const four = this.bound(out, "n", add(mul(number, int(lanes)), this.lane));
    const column = mul(four, int(perLane));
    const zero = this.apart ? float(0) : zeros;
    const sums = range(this.tile.rows).map(() =>
      range(this.apart ? perLane : 1).map(() => variableFor(k.names.fresh("c"), zero)),
    );
    for (const target of sums.flat()) out.push({ kind: "var", target, value: zero });
    const turn = (indices: readonly Env[]) =>
      this.turn(
        sums,
        row,
        column,
        indices.map((at) => new Map([...batchEnv, ...at])),
      );
    const unroll = unrollOf(spanOf(over), steps);
    // With wider subgroups (lavapipe, which compiles by LLVM) a remainder loop costs more compile time than it saves.
    out.push(...loopOverIterations(k, over, turn, { unroll, rest: this.apart }));
    const array = this.results(
      sums.map((c) => (this.apart ? construct(perLane, c) : c[0]!)),
      out,
    );
    this.arrays.push(array);
    this.store(out, array, row, column, batchEnv);
    return out;
  }

  protected bound(out: Stmt[], prefix: string, value: Expr): Expr {
    if (value.kind === "const") return value;
    const target = variableFor(this.p.k.names.fresh(prefix), value);
    out.push({ kind: "let", target, value });
    return target;
  }

  /**
   * One iteration: each lane's columns times every row, whose elements come from the lanes that loaded them. Each lane
   * visits the rows in a different order, starting with its own, because a pairwise shuffle (xor) is cheaper than a
   * broadcast. All steps of an iteration are applied to a row before the next, so that spilled sums are reloaded only
   * once per iteration.
   */
  private turn(sums: readonly (readonly Var[])[], row: Expr, column: Expr, steps: readonly Env[]): Stmt[] {
    const { lanes } = this.tile;
    const out: Stmt[] = [];
    const loaded = steps.map((env) => this.loaded(out, row, column, env));
    for (const [i, c] of sums.entries()) {
      const terms = loaded.map(({ left, right }) => {
        const own = left[Math.floor(i / lanes)]!;
        const mask = i % lanes;
        return { left: mask ? this.bound(out, "s", subgroupCall("shuffle_xor", own, int(mask))) : own, right };
      });
      for (const [u, target] of c.entries()) {
        const value = terms.reduce<Expr>((sum, { left, right }) => {
          const product = this.apart
            ? floatArith("mul", left, component(right, u))
            : floatArith("mul", construct(perLane, [left]), right);
          return floatArith("add", sum, product);
        }, target);
        out.push({ kind: "assign", target, value });
      }
    }
    return out;
  }

  /** A lane's loads for one step of the sum: an element of each row that it loads for all lanes, and its columns. */
  private loaded(out: Stmt[], row: Expr, column: Expr, env: Env): { readonly left: Expr[]; readonly right: Expr } {
    const { k, rows, columns } = this.p;
    const { lanes } = this.tile;
    const left = range(this.tile.rows / lanes).map((group) => {
      const index = min(add(add(row, int(group * lanes)), this.lane), sub(dimExpr(rows.size), int(1)));
      const at = new Map([...env, ...unflatten(index, rows.axes)]);
      return this.bound(out, "l", k.values.at(rows.operand, restrict(at, rows.operand)));
    });
    const own = range(perLane).map((u) => {
      const at = new Map([...env, ...unflatten(clamped(add(column, int(u)), columns.size, 4), columns.axes)]);
      return k.values.at(columns.operand, restrict(at, columns.operand));
    });
    return { left, right: this.bound(out, "r", construct(perLane, own)) };
  }

  /** Copies the sums to an array, which a loop can index. */
  private results(sums: readonly Expr[], out: Stmt[]): ArrayDecl {
    const name = this.p.k.names.fresh("p");
    for (const [i, value] of sums.entries()) out.push({ kind: "set", array: name, index: int(i), value });
    return { name, dtype: "f32", length: perLane * sums.length, width: perLane, space: "private" };
  }

  /** Stores a lane's columns, row by row in the lane's order, guarded by bounds checks. */
  private store(out: Stmt[], { name }: ArrayDecl, row: Expr, column: Expr, batchEnv: Env): void {
    const { k, rows, columns } = this.p;
    const { lanes } = this.tile;
    const [height, width] = [dimExpr(rows.size), dimExpr(columns.size)];
    const order = this.order(out);
    const groups = this.tile.rows / lanes;
    const group = indexVar(k.names.fresh("g"), groups);
    const turn = indexVar(k.names.fresh("e"), lanes);
    const first = groups === 1 ? int(0) : mul(group, int(lanes));
    const body: Stmt[] = [];
    const sums = this.bound(body, "y", element(name, "f32", add(first, turn), perLane));
    const own = this.bound(body, "o", add(add(row, first), chosen(order, turn)));
    // Redundant within the guards, but keeps the index expressions' ranges in bounds.
    const rowEnv = unflatten(min(own, sub(height, int(1))), rows.axes);
    const storeOne = (u: number): Stmt[] => {
      const to = clamped(add(column, int(u)), columns.size, 4);
      return storesOf(k, new Map([...batchEnv, ...rowEnv, ...unflatten(to, columns.axes)]), component(sums, u));
    };
    const all = isMultipleOf(columns.size, perLane)
      ? guarded(lt(column, width), () => range(perLane).flatMap(storeOne))
      : range(perLane).flatMap((u) => guarded(lt(add(column, int(u)), width), () => storeOne(u)));
    const within = isMultipleOf(rows.size, this.tile.rows) ? bool(true) : lt(own, height);
    body.push(...guarded(within, () => all));
    const each: Stmt = { kind: "for", index: turn, from: int(0), to: int(lanes), step: 1, body };
    out.push(groups === 1 ? each : { kind: "for", index: group, from: int(0), to: int(groups), step: 1, body: [each] });
  }

  /** The order in which a lane visits the rows that the lanes load together: entry `t` is the lane's number xor `t`. */
  private order(out: Stmt[]): readonly Expr[] {
    const { lanes } = this.tile;
    let order: Expr[] = [this.lane];
    for (let bit = 1; bit < lanes; bit *= 2) {
      const flipped = order.map((x) =>
        this.bound(out, "x", add(mul(div(x, int(2 * bit)), int(2 * bit)), mod(add(x, int(bit)), int(2 * bit)))),
      );
      order = [...order, ...flipped];
    }
    return order;
  }
}

/** Selects one of several values by its index. */
function chosen(values: readonly Expr[], at: Expr, first = 0): Expr {
  if (values.length === 1) return values[0]!;
  const half = values.length / 2;
  const [low, high] = [values.slice(0, half), values.slice(half)];
  return select(lt(at, int(first + half)), chosen(low, at, first), chosen(high, at, first + half));
}

const zeros = construct(perLane, [float(0)]);

/** Statements under a condition; none if it is known to be false. */
function guarded(inside: Expr, body: () => readonly Stmt[]): readonly Stmt[] {
  if (inside.kind === "const") return inside.value ? body() : [];
  return [{ kind: "if", condition: inside, body: body() }];
}
