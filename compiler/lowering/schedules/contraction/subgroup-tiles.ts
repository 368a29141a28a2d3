/**
 * Contractions in which the lanes of a subgroup compute a tile of results together. Each lane has four columns of the
 * tile, for all of its rows, and loads elements of some rows, which it gives to all lanes. Where kernels run on CPU
 * threads a load costs as much as a dozen products, and a value from another lane no more than two. The text is short,
 * for drivers that take long to compile: sums are vectors, and one loop stores all rows.
 */
import { dimExpr, type Env, isMultipleOf, restrict, spanOf, typical } from "../../../fusion/index.ts";
import {
  type ArrayDecl,
  component,
  construct,
  type Expr,
  element,
  float,
  floatArith,
  indexVar,
  int,
  rangeOf,
  type Stmt,
  subgroupBroadcast,
  type Var,
  variable,
  variableFor,
} from "../../../kernel/index.ts";
import { add, div, lt, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { ceilDiv, type KernelCode, unflatten } from "../../kernel.ts";
import { loopOver } from "../../loops.ts";
import type { Schedule } from "../../schedule.ts";
import { type ContractionProblem, clamped, severalProducts, storesOf } from "./problem.ts";

export interface SubgroupTile extends Readonly<Record<string, number>> {
  /** Lanes of every subgroup of the adapter. */
  readonly lanes: number;
  /** Rows of the tile, a multiple of the lanes. */
  readonly rows: number;
  /** Indices of the sum in one turn of its loop, where they divide it: what are neighbours along it is loaded together. */
  readonly steps: number;
}

/** Columns of one lane: what one access of memory has. */
export const perLane = 4;

export const subgroupTiles: Schedule<ContractionProblem, SubgroupTile> = {
  name: "subgroup-tiles",
  summary: "the lanes of a subgroup have columns of a tile of results, and give each other the elements of its rows",
  features: ["subgroups"],
  settings: ({ software, subgroupSizes: { min: lanes, max } }) => {
    if (!software) return "it is for adapters whose kernels run on CPU threads";
    if (lanes !== max || lanes < 2) return `subgroups have ${lanes} to ${max} lanes, not one number of them`;
    // With four lanes (SwiftShader) a turn with 64 broadcasts takes half as long again as one with 48.
    const rows = [lanes > 4 ? 16 : 12, 8, 4].filter((n) => n % lanes === 0);
    return rows.length > 0 ? rows.map((n) => ({ lanes, rows: n, steps: 4 })) : `${lanes} lanes are too many for a tile`;
  },
  fits: ({ rows, columns, products }, { lanes }) => {
    if (products.length > 1) return severalProducts;
    if (2 * typical(rows.size) < lanes) return `${rows.size} rows are too few for ${lanes} lanes to load them together`;
    return typical(columns.size) >= lanes || `${columns.size} columns are too few for ${lanes} lanes to have some each`;
  },
  // What is loaded once for all rows of a tile costs about what four rows do.
  cost: ({ rows }, tile) => Math.ceil(typical(rows.size) / tile.rows) * (tile.rows + 4),
  lower: (problem, tile) => new TileLowering(problem, tile).run(),
};

export class TileLowering {
  protected readonly p: ContractionProblem;
  protected readonly tile: SubgroupTile;
  protected readonly lane: Var;
  private readonly arrays: ArrayDecl[] = [];

  constructor(problem: ContractionProblem, tile: SubgroupTile) {
    this.p = problem;
    this.tile = tile;
    this.lane = variable("lane", "i32", { min: 0, max: tile.lanes - 1 });
  }

  run(): KernelCode {
    const { k, rows, columns, batch } = this.p;
    const { lanes } = this.tile;
    const down = ceilDiv(dimExpr(rows.size), this.tile.rows);
    const across = ceilDiv(dimExpr(columns.size), perLane * lanes);
    // A workgroup is one subgroup: all of its lanes come to everything that they do together.
    const code = k.perWorkgroup(mul(mul(down, across), dimExpr(spanOf(batch))), lanes, (item) => {
      const out: Stmt[] = [];
      const line = div(item, across);
      // Of a single batch there is nothing to take a remainder of, however many rows there are.
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

  /** A tile of results, from a row on, by its number along the columns. */
  protected tileAt(row: Expr, number: Expr, batchEnv: Env): Stmt[] {
    const { k, over } = this.p;
    const { lanes, steps } = this.tile;
    const out: Stmt[] = [];
    const four = this.bound(out, "n", add(mul(number, int(lanes)), this.lane));
    const column = mul(four, int(perLane));
    const sums = range(this.tile.rows).map(() => variableFor(k.names.fresh("c"), zeros));
    for (const target of sums) out.push({ kind: "var", target, value: zeros });
    const step = (at: Env) => this.step(sums, row, column, new Map([...batchEnv, ...at]));
    const unroll = [steps, 2].find((n) => isMultipleOf(spanOf(over), n)) ?? 1;
    out.push(...loopOver(k, over, step, { unroll }));
    const array = this.results(sums, out);
    this.arrays.push(array);
    out.push(this.store(array, row, column, batchEnv));
    return out;
  }

  protected bound(out: Stmt[], prefix: string, value: Expr): Expr {
    if (value.kind === "const") return value;
    const target = variableFor(this.p.k.names.fresh(prefix), value);
    out.push({ kind: "let", target, value });
    return target;
  }

  /** One index of the sum: each lane's columns times every row, the rows' elements from the lanes that load them. */
  private step(sums: readonly Var[], row: Expr, column: Expr, env: Env): Stmt[] {
    const { k, rows, columns } = this.p;
    const { lanes } = this.tile;
    const out: Stmt[] = [];
    const loaded = range(sums.length / lanes).map((group) => {
      const index = min(add(add(row, int(group * lanes)), this.lane), sub(dimExpr(rows.size), int(1)));
      const at = new Map([...env, ...unflatten(index, rows.axes)]);
      return this.bound(out, "l", k.values.at(rows.operand, restrict(at, rows.operand)));
    });
    const own = range(perLane).map((u) => {
      const at = new Map([...env, ...unflatten(clamped(add(column, int(u)), columns.size, 4), columns.axes)]);
      return k.values.at(columns.operand, restrict(at, columns.operand));
    });
    const right = this.bound(out, "r", construct(perLane, own));
    for (const [i, c] of sums.entries()) {
      const given = subgroupBroadcast(loaded[Math.floor(i / lanes)]!, i % lanes);
      const left = construct(perLane, [this.bound(out, "s", given)]);
      out.push({ kind: "assign", target: c, value: floatArith("add", c, floatArith("mul", left, right)) });
    }
    return out;
  }

  /** The sums in an array, which a loop can go over. */
  private results(sums: readonly Var[], out: Stmt[]): ArrayDecl {
    const name = this.p.k.names.fresh("p");
    for (const [i, value] of sums.entries()) out.push({ kind: "set", array: name, index: int(i), value });
    return { name, dtype: "f32", length: perLane * sums.length, width: perLane, space: "private" };
  }

  /** Stores a lane's columns, row by row, where they are within the result. */
  private store({ name }: ArrayDecl, row: Expr, column: Expr, batchEnv: Env): Stmt {
    const { k, rows, columns } = this.p;
    const [height, width] = [dimExpr(rows.size), dimExpr(columns.size)];
    const to = min(int(this.tile.rows), sub(height, row));
    const index = indexVar(k.names.fresh("e"), rangeOf(to).max);
    const body: Stmt[] = [];
    const sums = this.bound(body, "y", element(name, "f32", index, perLane));
    // The loop's end and the guards hold these bounds too; the expressions say so.
    const rowEnv = unflatten(min(add(row, index), sub(height, int(1))), rows.axes);
    const storeOne = (u: number): Stmt[] => {
      const to = clamped(add(column, int(u)), columns.size, 4);
      return storesOf(k, new Map([...batchEnv, ...rowEnv, ...unflatten(to, columns.axes)]), component(sums, u));
    };
    if (isMultipleOf(columns.size, perLane))
      body.push(...guarded(lt(column, width), () => range(perLane).flatMap(storeOne)));
    else for (const u of range(perLane)) body.push(...guarded(lt(add(column, int(u)), width), () => storeOne(u)));
    return { kind: "for", index, from: int(0), to, step: 1, body };
  }
}

const zeros = construct(perLane, [float(0)]);

/** What is done where a condition holds: nothing where it never does. */
function guarded(inside: Expr, body: () => readonly Stmt[]): readonly Stmt[] {
  if (inside.kind === "const") return inside.value ? body() : [];
  return [{ kind: "if", condition: inside, body: body() }];
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
