/** Contraction kernels on matrix units: how slabs are staged and multiplied, and in which order tiles are processed. */
import { dimExpr, type Env, spanOf } from "../../../fusion/index.ts";
import {
  type ArrayDecl,
  type Expr,
  type FragmentDecl,
  int,
  rangeOf,
  type Stmt,
  type Var,
  variable,
} from "../../../kernel/index.ts";
import { add, div, mod, mul } from "../../../kernel/simplify.ts";
import { ceilDiv, guarded, type KernelCode, unflatten } from "../../kernel.ts";
import { range } from "../../range.ts";
import { acrossOf, downOf, type MatrixTile, pitchOf, subgroupsOf, threadsOf, widthOf } from "./matrix-tile.ts";
import { type ContractionProblem, isContiguous, type Side } from "./problem.ts";
import { ResultStrips } from "./result-strips.ts";
import { keptRows, reduceParts } from "./row-parts.ts";
import { type Access, accessesOf, type Slab, slabLength } from "./slab.ts";
import { overSlabs, stagesOf } from "./slab-loop.ts";

export const lowerMatrices = (problem: ContractionProblem, tile: MatrixTile): KernelCode =>
  new MatrixLowering(problem, tile).run();

/** One operand of a workgroup: its slab, and the accesses by which each thread stages it. */
interface Operand {
  readonly slab: Slab;
  readonly accesses: readonly Access[];
  /** The offset within the slab of the subgroup's first row or column. */
  readonly own: Expr;
}

class MatrixLowering {
  private readonly p: ContractionProblem;
  private readonly t: MatrixTile;
  private readonly fragments: FragmentDecl[] = [];
  private readonly arrays: ArrayDecl[] = [];
  private readonly lid: Var;
  private readonly subgroup: Var;

  constructor(problem: ContractionProblem, tile: MatrixTile) {
    this.p = problem;
    this.t = tile;
    this.lid = variable("lid", "i32", { min: 0, max: threadsOf(tile) - 1 });
    this.subgroup = variable("subgroup_id", "i32", { min: 0, max: subgroupsOf(tile) - 1 });
  }

  run(): KernelCode {
    const { grid, body } = this.grid((x, y, batch) => this.tile(x, y, batch));
    const workgroup = [threadsOf(this.t), 1, 1] as const;
    return { body, grid, workgroup, arrays: this.arrays, fragments: this.fragments, subgroupSize: this.t.lanes };
  }

  /**
   * Rasterization order: tiles run down the rows first, all of them or a group at a time. Workgroups that run
   * concurrently then share columns (the weights' side), and what they read of the other side stays cached meanwhile.
   */
  private grid(tile: (x: Expr, y: Expr, batch: Expr) => Stmt[]): Pick<KernelCode, "grid" | "body"> {
    const { rows, columns, batch, k } = this.p;
    const { group } = this.t;
    const [down, across] = [ceilDiv(dimExpr(rows.size), this.t.rows), ceilDiv(dimExpr(columns.size), this.t.columns)];
    const id = (name: string, count: Expr) => variable(name, "i32", { min: 0, max: rangeOf(count).max - 1 });
    const batches = dimExpr(spanOf(batch));
    if (group === 0) {
      const ids = [id("wid_x", down), id("wid_y", across), id("wid_z", batches)] as const;
      return { grid: [down, across, batches], body: tile(...ids) };
    }
    const groups = ceilDiv(down, group);
    const grid = [int(group), across, mul(groups, batches)] as const;
    const z = id("wid_z", grid[2]);
    const row = add(mul(mod(z, groups), int(group)), id("wid_x", int(group)));
    const body = guarded(k.names.fresh("t"), row, down, (x) => tile(x, id("wid_y", across), div(z, groups)));
    return { grid, body };
  }

  /** One tile of the result. */
  private tile(x: Expr, y: Expr, batch: Expr): Stmt[] {
    const { rows, columns, batch: axes } = this.p;
    const t = this.t;
    const out: Stmt[] = [];
    const batchEnv = unflatten(this.bound(out, "z", batch), axes);
    const sm = this.bound(out, "sm", mod(this.subgroup, int(t.subgroupsDown)));
    const sn = this.bound(out, "sn", mod(div(this.subgroup, int(t.subgroupsDown)), int(t.subgroupsAcross)));
    const left = this.operand(rows, mul(x, int(t.rows)), t.rows, mul(sm, int(t.rows / t.subgroupsDown)), batchEnv);
    const ownColumns = mul(sn, int(t.columns / t.subgroupsAcross));
    const right = this.operand(columns, mul(y, int(t.columns)), t.columns, ownColumns, batchEnv);
    out.push(...left.slab.kept.body, ...right.slab.kept.body);
    const sums = range(downOf(t)).map(() => range(acrossOf(t)).map(() => this.fragment("result", t.m, t.n)));
    const accesses = [left, right].flatMap((o) => o.accesses);
    const multiply = (stage: Expr) => this.multiply(left, right, sums, stage);
    out.push(...overSlabs(this.p, t.depth, t.prefetch, accesses, multiply));
    const strips = new ResultStrips(this.p, t, this.subgroup, batchEnv);
    this.arrays.push(strips.array);
    for (const [i, line] of sums.entries()) {
      const row = add(left.slab.first, add(left.own, int(i * t.m)));
      for (let j = 0; j < line.length; j += t.strip) {
        const column = add(right.slab.first, add(right.own, int(j * t.n)));
        out.push(...strips.store(line.slice(j, j + t.strip), row, column, i === 0 && j === 0));
      }
    }
    const threads = { lid: this.lid, count: threadsOf(t) };
    out.push(...reduceParts(this.p, t, left.slab.first, right.slab.first, batchEnv, threads));
    return out;
  }

  private bound(out: Stmt[], prefix: string, value: Expr): Expr {
    if (value.kind === "const") return value;
    const { target, stmt } = this.p.k.let(prefix, value);
    out.push(stmt);
    return target;
  }

  private fragment(role: FragmentDecl["role"], rows: number, columns: number): string {
    const name = this.p.k.names.fresh(role === "result" ? "sum" : role);
    const dtype = role === "result" || this.t.bytes === 4 ? "f32" : "f16";
    this.fragments.push({ name, role, dtype, rows, columns });
    return name;
  }

  private operand(side: Side, first: Expr, size: number, own: Expr, batchEnv: Env): Operand {
    const t = this.t;
    const deep = isContiguous(this.p.k, this.p.over, side, unflatten(int(0), side.axes), batchEnv);
    const pitch = pitchOf(deep ? t.depth : size, t);
    const length = (deep ? size : t.depth) * pitch * widthOf(t) * stagesOf(t.prefetch);
    const array: ArrayDecl = {
      name: this.p.k.names.fresh("slab"),
      dtype: t.bytes === 2 ? "f16" : "f32",
      length,
      width: widthOf(t),
      space: "workgroup",
    };
    this.arrays.push(array);
    const threads = { lid: this.lid, count: threadsOf(t) };
    const kept = keptRows(this.p, side, size, first, batchEnv, threads);
    this.arrays.push(...kept.arrays);
    const slab: Slab = { array, side, size, first, depth: t.depth, deep, pitch, kept };
    return { slab, own, accesses: accessesOf(this.p, slab, batchEnv, this.lid, threadsOf(t)) };
  }

  /** Multiplies the staged slabs; with double buffering, those of one stage. */
  private multiply(left: Operand, right: Operand, sums: readonly (readonly string[])[], stage: Expr): Stmt[] {
    const t = this.t;
    return range(t.depth / t.k).flatMap((step): Stmt[] => {
      const lefts = sums.map(() => this.fragment("left", t.m, t.k));
      const loads = lefts.map((name, i) => this.load(name, left, i * t.m, step * t.k, "left", stage));
      const products = range(acrossOf(t)).flatMap((j): Stmt[] => {
        const top = this.fragment("right", t.k, t.n);
        return [
          this.load(top, right, j * t.n, step * t.k, "right", stage),
          ...lefts.map(
            (name, i): Stmt => ({ kind: "fragment_multiply", fragment: sums[i]![j]!, left: name, right: top }),
          ),
        ];
      });
      return [...loads, ...products];
    });
  }

  /** Loads a fragment from a slab: the subgroup's block from `item` on, for the steps from `step` on. */
  private load(
    fragment: string,
    { slab, own }: Operand,
    item: number,
    step: number,
    role: "left" | "right",
    stage: Expr,
  ): Stmt {
    const width = widthOf(this.t);
    const { deep, pitch, array } = slab;
    const within = deep
      ? add(mul(own, int(pitch)), int(item * pitch + step / width))
      : add(div(own, int(width)), int(item / width + step * pitch));
    const offset = add(mul(stage, int(slabLength(slab))), within);
    // A line of a deep slab is a row of the left operand and a column of the right one.
    const order = deep === (role === "left") ? "row_major" : "column_major";
    return { kind: "fragment_load", fragment, from: { array: array.name, offset, stride: int(pitch), order } };
  }
}
