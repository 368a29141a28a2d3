/**
 * Tiled contraction kernels without matrix units. Slabs have one line per step of the sum, read as vec4; each thread
 * computes blocks of four rows by four columns, accumulated in registers.
 */

import { dimExpr, type Env, spanOf } from "../../../fusion/index.ts";
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
  type Var,
  variable,
  variableFor,
} from "../../../kernel/index.ts";
import { add, and, div, lt, mod, mul } from "../../../kernel/simplify.ts";
import { ceilDiv, type KernelCode, unflatten } from "../../kernel.ts";
import { ifInside } from "../../loops.ts";
import { range } from "../../range.ts";
import { type ContractionProblem, clamped, isContiguous, type Side, storesOf } from "./problem.ts";
import { keptRows, reduceParts } from "./row-parts.ts";
import { pitchOf, type SharedTile, threadsOf } from "./shared-tile.ts";
import { type Access, type Slab, slabLength, turnedAccessesOf } from "./slab.ts";
import { overSlabs, stagesOf } from "./slab-loop.ts";

export const lowerShared = (problem: ContractionProblem, tile: SharedTile): KernelCode =>
  new SharedLowering(problem, tile).run();

/** One operand of a workgroup: its slab, each thread's accesses to stage it, and the thread's first vec4 in a line. */
interface Operand {
  readonly slab: Slab;
  readonly accesses: readonly Access[];
  readonly own: Expr;
  /** Distance in vec4 between consecutive ones of a thread. */
  readonly stride: number;
}

class SharedLowering {
  private readonly p: ContractionProblem;
  private readonly t: SharedTile;
  private readonly lid: Expr;
  private readonly out: Stmt[] = [];

  constructor(problem: ContractionProblem, tile: SharedTile) {
    this.p = problem;
    this.t = tile;
    this.lid = variable("lid", "i32", { min: 0, max: threadsOf(tile) - 1 });
  }

  run(): KernelCode {
    const { rows, columns, batch } = this.p;
    const t = this.t;
    // Workgroups that run concurrently share their columns, the side of the weights.
    const grid = [
      ceilDiv(dimExpr(rows.size), t.rows),
      ceilDiv(dimExpr(columns.size), t.columns),
      dimExpr(spanOf(batch)),
    ] as const;
    const [x, y, z] = ["wid_x", "wid_y", "wid_z"].map((n, i) =>
      variable(n, "i32", { min: 0, max: rangeOf(grid[i]!).max - 1 }),
    );
    const batchEnv = unflatten(this.bound("z", z!), batch);
    const [ty, tx] = this.threadAt();
    const left = this.operand(rows, mul(x!, int(t.rows)), t.rows, ty, batchEnv);
    const right = this.operand(columns, mul(y!, int(t.columns)), t.columns, tx, batchEnv);
    const zeros = construct(4, [float(0)]);
    const sums = range(t.perThread).map(() =>
      range(t.perThread / 4).map(() => variableFor(this.p.k.names.fresh("c"), zeros)),
    );
    for (const target of sums.flat()) this.out.push({ kind: "var", target, value: zeros });
    const accesses = [...left.accesses, ...right.accesses];
    const multiply = (stage: Expr) => [this.multiply(left, right, sums, stage)];
    this.out.push(...overSlabs(this.p, t.depth, t.prefetch, accesses, multiply));
    for (const [i, line] of sums.entries())
      for (const [j, four] of line.entries()) {
        const row = add(left.slab.first, add(mul(this.fourOf(left, i >> 2), int(4)), int(i & 3)));
        this.store(row, add(right.slab.first, mul(this.fourOf(right, j), int(4))), four, batchEnv);
      }
    const threads = { lid: this.lid, count: threadsOf(t) };
    this.out.push(...reduceParts(this.p, t, left.slab.first, right.slab.first, batchEnv, threads));
    const arrays = [left, right].flatMap(({ slab }) => [slab.array, ...slab.kept.arrays]);
    return { body: this.out, grid, workgroup: [threadsOf(t), 1, 1], arrays };
  }

  private bound(prefix: string, value: Expr): Expr {
    if (value.kind === "const") return value;
    const { target, stmt } = this.p.k.let(prefix, value);
    this.out.push(stmt);
    return target;
  }

  /** Thread coordinates, down and across: 32 consecutive threads form a 4 by 8 block, for the fewest slab reads. */
  private threadAt(): [Expr, Expr] {
    const blocks = this.t.columns / this.t.perThread / 8;
    const block = div(this.lid, int(32));
    const ty = add(mod(div(this.lid, int(8)), int(4)), mul(div(block, int(blocks)), int(4)));
    const tx = add(mod(this.lid, int(8)), mul(mod(block, int(blocks)), int(8)));
    return [this.bound("ty", ty), this.bound("tx", tx)];
  }

  private operand(side: Side, first: Expr, size: number, own: Expr, batchEnv: Env): Operand {
    const { depth, perThread, prefetch } = this.t;
    const { k, over } = this.p;
    const pitch = pitchOf(size);
    const array: ArrayDecl = {
      name: k.names.fresh("slab"),
      dtype: "f32",
      length: 4 * depth * pitch * stagesOf(prefetch),
      width: 4,
      space: "workgroup",
    };
    const threads = { lid: this.lid, count: threadsOf(this.t) };
    const kept = keptRows(this.p, side, size, first, batchEnv, threads);
    this.out.push(...kept.body);
    const slab: Slab = { array, side, size, first, depth, deep: false, pitch, kept };
    const lines = isContiguous(k, over, side, unflatten(int(0), side.axes), batchEnv);
    const accesses = turnedAccessesOf(this.p, slab, lines, batchEnv, this.lid, threadsOf(this.t));
    return { slab, accesses, own, stride: size / perThread };
  }

  /** A thread's vec4 are strided, interleaved with those of its neighbours. */
  private fourOf = ({ own, stride }: Operand, i: number): Expr => add(own, int(i * stride));

  /** Multiplies one slab: in each step, every thread adds the outer product of its rows and columns. */
  private multiply(left: Operand, right: Operand, sums: readonly (readonly Var[])[], stage: Expr): Stmt {
    const { k } = this.p;
    const step = indexVar(k.names.fresh("k"), this.t.depth);
    const body: Stmt[] = [];
    const fours = (o: Operand, prefix: string): Var[] =>
      range(this.t.perThread / 4).map((i) => {
        const line = add(mul(stage, int(slabLength(o.slab))), mul(step, int(o.slab.pitch)));
        const { target, stmt } = k.let(prefix, element(o.slab.array.name, "f32", add(line, this.fourOf(o, i)), 4));
        body.push(stmt);
        return target;
      });
    const [a, b] = [fours(left, "l"), fours(right, "r")];
    for (const [i, line] of sums.entries())
      for (const [j, c] of line.entries()) {
        const own = construct(4, [component(a[i >> 2]!, i & 3)]);
        body.push({ kind: "assign", target: c, value: floatArith("add", c, floatArith("mul", own, b[j]!)) });
      }
    return { kind: "for", index: step, from: int(0), to: int(this.t.depth), step: 1, body };
  }

  /** Stores four columns of a row, guarded by bounds checks. */
  private store(row: Expr, column: Expr, sums: Var, batchEnv: Env): void {
    const { rows, columns, k } = this.p;
    const inRows = lt(row, dimExpr(rows.size));
    const whole = typeof columns.size === "number" && columns.size % 4 === 0;
    const inside = (u: number) => and(inRows, lt(add(column, int(u)), dimExpr(columns.size)));
    const stores = range(4).map((u) => {
      // Redundant within the guard, but keeps the index expression's range in bounds.
      const env = new Map([
        ...batchEnv,
        ...unflatten(clamped(row, rows.size, 1), rows.axes),
        ...unflatten(clamped(add(column, int(u)), columns.size, 4), columns.axes),
      ]);
      return storesOf(k, env, component(sums, u));
    });
    // If four divides the columns, each vec4 is inside or outside as a whole, and one guard covers its stores.
    if (whole) this.out.push(...ifInside(inside(0), stores.flat()));
    else for (const [u, s] of stores.entries()) this.out.push(...ifInside(inside(u), s));
  }
}
