/**
 * The epilogue on matrix units: lanes cannot access the elements of a fragment, so results go through workgroup memory,
 * one strip of adjacent fragments at a time, and each lane then computes and stores neighbours of a row.
 */

import { dimExpr, type Env } from "../../../fusion/index.ts";
import {
  type ArrayDecl,
  barrier,
  component,
  type Expr,
  element,
  indexVar,
  int,
  type Stmt,
  variable,
} from "../../../kernel/index.ts";
import { add, and, div, lt, mod, mul } from "../../../kernel/simplify.ts";
import { unflatten } from "../../kernel.ts";
import { ifInside } from "../../loops.ts";
import { range } from "../../range.ts";
import { type MatrixTile, stripPitch, stripSize } from "./matrix-tile.ts";
import { type ContractionProblem, clamped, storesOf } from "./problem.ts";

export class ResultStrips {
  readonly array: ArrayDecl;
  private readonly p: ContractionProblem;
  private readonly t: MatrixTile;
  private readonly batchEnv: Env;
  /** The offset of the subgroup's strip. */
  private readonly own: Expr;
  /** Columns that a lane handles at once: as many as one store access holds. */
  private readonly each: 4 | 8;

  constructor(problem: ContractionProblem, tile: MatrixTile, subgroup: Expr, batchEnv: Env) {
    const { k, columns } = problem;
    this.p = problem;
    this.t = tile;
    this.batchEnv = batchEnv;
    this.own = mul(subgroup, int(tile.m * stripPitch(tile)));
    const halves = k.fused.stores.every(({ value }) => value.type.dtype === "f16");
    this.each = halves && typeof columns.size === "number" && columns.size % 8 === 0 ? 8 : 4;
    const length = 4 * stripSize(tile);
    this.array = { name: k.names.fresh("strip"), dtype: "f32", length, width: 4, space: "workgroup" };
  }

  /** Stores a row of fragments whose results begin at `row` and `column`. */
  store(fragments: readonly string[], row: Expr, column: Expr, isFirst: boolean): Stmt[] {
    const { k, columns } = this.p;
    const { m, n, lanes } = this.t;
    const { own, each } = this;
    const pitch = stripPitch(this.t);
    const moved = fragments.map((fragment, j): Stmt => {
      const offset = add(own, int((j * n) / 4));
      return {
        kind: "fragment_store",
        fragment,
        to: { array: this.array.name, offset, stride: int(pitch), order: "row_major" },
      };
    });
    const perRow = (n * fragments.length) / each;
    const turns = Math.ceil((m * perRow) / lanes);
    // Counts up from 0 by 1, which Dawn can analyse: reads of the strip then need no bounds checks.
    const turn = indexVar(k.names.fresh("q"), turns);
    const index = add(mul(turn, int(lanes)), variable("lane", "i32", { min: 0, max: lanes - 1 }));
    const [r, along] = [div(index, int(perRow)), mul(mod(index, int(perRow)), int(each))];
    const fours = range(each / 4).map((i) => {
      const at = add(add(own, mul(r, int(pitch))), add(div(along, int(4)), int(i)));
      return k.let("v", element(this.array.name, "f32", at, 4));
    });
    const first = add(column, along);
    const stores = range(each).map((u) =>
      this.storeOne(add(row, r), add(first, int(u)), component(fours[u >> 2]!.target, u & 3)),
    );
    // If whole accesses divide the columns, each is inside or outside as a whole, and one guard covers its stores.
    const whole = typeof columns.size === "number" && columns.size % each === 0;
    const inRows = lt(add(row, r), dimExpr(this.p.rows.size));
    const isOurs = lt(index, int(m * perRow));
    const inside = (u: number) => and(inRows, lt(add(first, int(u)), dimExpr(columns.size)));
    const body = whole ? ifInside(inside(0), stores.flat()) : stores.flatMap((s, u) => ifInside(inside(u), s));
    const all = ifInside(isOurs, [...fours.map((f) => f.stmt), ...body]);
    return [
      ...(isFirst ? [] : [barrier]),
      ...moved,
      barrier,
      { kind: "for", index: turn, from: int(0), to: int(turns), step: 1, body: all },
    ];
  }

  private storeOne(row: Expr, column: Expr, sum: Expr): Stmt[] {
    const { k, rows, columns } = this.p;
    const env = new Map([
      ...this.batchEnv,
      ...unflatten(clamped(row, rows.size, 1), rows.axes),
      ...unflatten(clamped(column, columns.size, this.each), columns.axes),
    ]);
    return storesOf(k, env, sum);
  }
}
