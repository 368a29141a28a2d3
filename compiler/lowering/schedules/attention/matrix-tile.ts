/** What the passes of attention on matrix units share: settings, fragments, and strips to access their elements. */
import { typical, typicalSpan } from "../../../fusion/index.ts";
import { dtypeBytes } from "../../../ir/dtype.ts";
import {
  type ArrayDecl,
  type Expr,
  type FragmentDecl,
  float,
  int,
  type MajorOrder,
  type Stmt,
  type Var,
  variable,
} from "../../../kernel/index.ts";
import { add, div, mod, mul } from "../../../kernel/simplify.ts";
import { type AdapterFacts, noSubgroupSize } from "../../facts.ts";
import type { Fit } from "../../schedule.ts";
import { type AttentionProblem, knownWidths, type Parts } from "./problem.ts";
import { type Frame, type Sides, sidesOf, skipsMaskedBlocks, typicalColumns } from "./sides.ts";
import { bankFreePitch, type Slab, slabArray } from "./slab.ts";

export interface MatrixTile extends Readonly<Record<string, number>> {
  /** Shape of one matrix instruction: left [m, k] times right [k, n]. */
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Bytes per element of the left and right matrices. */
  readonly bytes: number;
  /** Tiles of m rows per workgroup. */
  readonly tiles: number;
  /** Columns per block of the main loop. */
  readonly block: number;
  /** 1: the next block is prefetched while the current one is processed. */
  readonly ahead: number;
  readonly lanes: number;
}

/** Workgroups that keep a GPU busy: with fewer than these, smaller tiles are better. */
const manyWorkgroups = 128;
/** The widest head that fits in a subgroup's fragments. */
const widestHead = 256;

/** Candidate tiles for the adapter's matrix shapes with f32 accumulation. */
export function matrixSettings(facts: AdapterFacts): readonly MatrixTile[] | string {
  const { min, max } = facts.subgroupSizes;
  if (min !== max && !facts.features.has("subgroup_size")) return noSubgroupSize;
  const shapes = facts.matrices.filter((s) => s.result === "f32" && (s.operands === "f16" || s.operands === "f32"));
  if (shapes.length === 0) return "the adapter has no matrix shape that accumulates f16 or f32 in f32";
  const settings = shapes.flatMap(({ m, n, k, operands }) =>
    [4, 2, 1, 6, 8].flatMap((tiles) =>
      [32, 16, 64].flatMap((block) =>
        [1, 0].map((ahead) => ({ m, n, k, bytes: operands === "f16" ? 2 : 4, tiles, block, ahead, lanes: min })),
      ),
    ),
  );
  return settings.filter(
    (t) => t.lanes % t.m === 0 && t.block % t.m === 0 && t.block % t.n === 0 && t.block % t.k === 0,
  );
}

export const typeOf = (t: MatrixTile): "f16" | "f32" => (t.bytes === 2 ? "f16" : "f32");
const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** The vector lengths for logits and for values, padded to whole fragments. */
export const paddedWidths = ({ p }: Frame | { p: AttentionProblem["parts"] }, t: MatrixTile) => {
  const whole = Math.max(t.k, t.n);
  return { dot: roundUp(Number(p.dot.size), whole), width: roundUp(typicalSpan(p.widths), whole) };
};

/** Row pitch of a strip in vec4, padded so that successive rows start in different banks. */
export const stripPitch = (t: MatrixTile): number => t.block / 4 + 2;
/** Lanes per row of a strip. */
export const lanesOfRow = (t: MatrixTile): number => t.lanes / t.m;

/** Whether these settings suit a problem at all; the pass itself checks the workgroup memory. */
export function fitsMatrices(problem: AttentionProblem, t: MatrixTile): Fit | Sides {
  const p = problem.parts;
  const known = knownWidths(p);
  if (known !== true) return known;
  const sides = sidesOf(p);
  if (typeof sides === "string") return sides;
  if (dtypeBytes[p.q.type.dtype] > t.bytes)
    return `operands are ${p.q.type.dtype}, and the matrix shape is for ${typeOf(t)}`;
  const [dot, width] = [Number(p.dot.size), typicalSpan(p.widths)];
  const widest = paddedWidths({ p }, t);
  if (Math.max(dot, width) > widestHead)
    return `a head dimension of ${Math.max(dot, width)} exceeds the ${widestHead} that fit the fragments of a subgroup`;
  if (widest.dot >= 2 * dot || widest.width >= 2 * width)
    return "fragments would be more than half padding along the head dimension";
  if ((t.block / 4) % lanesOfRow(t) !== 0)
    return `a block of ${t.block} columns does not divide among ${lanesOfRow(t)} lanes`;
  if (2 * typical(sides.rows) < t.m) return `a fragment of ${t.m} rows would be more than half padding`;
  if (2 * typicalColumns(sides, p) < t.block) return `a block of ${t.block} columns would be more than half padding`;
  if (t.ahead && skipsMaskedBlocks(problem, sides))
    return "fully masked blocks are skipped, so that the next block cannot be prefetched";
  return sides;
}

/**
 * Rows computed, including padding, weighted by how well they reuse the other side, how many subgroups synchronize at
 * barriers, and how well the grid occupies the adapter.
 */
export function matrixCost(p: Parts, t: MatrixTile, subgroups: number): number {
  const sides = sidesOf(p) as Sides;
  const rows = t.m * t.tiles;
  const tiles = Math.ceil(typical(sides.rows) / rows);
  const busy = Math.min(1, (tiles * typicalSpan(sides.batch)) / manyWorkgroups);
  const columns = roundUp(typicalColumns(sides, p), t.block) / typicalColumns(sides, p);
  const blocks = t.block === 32 ? 1 : 1.1;
  return (
    (tiles * rows * columns * blocks * (1 + 1 / t.tiles + subgroups / 24) * (t.ahead ? 0.95 : 1)) /
    busy /
    (t.n / 16 + 1)
  );
}

/** Builds the code of one kernel: its fragments, and the operations of subgroups and lanes on them. */
export class MatrixCode {
  readonly frame: Frame;
  readonly t: MatrixTile;
  readonly fragments: FragmentDecl[] = [];
  readonly arrays: ArrayDecl[] = [];
  readonly subgroup: Var;
  /** The row of a strip that a lane handles, and the lane's position within that row. */
  readonly row: Expr;
  readonly part: Expr;

  constructor(frame: Frame, t: MatrixTile, subgroups: number) {
    this.frame = frame;
    this.t = t;
    this.subgroup = variable("subgroup_id", "i32", { min: 0, max: subgroups - 1 });
    const lane = variable("lane", "i32", { min: 0, max: t.lanes - 1 });
    this.row = div(lane, int(lanesOfRow(t)));
    this.part = mod(lane, int(lanesOfRow(t)));
  }

  /** Skips blocks hidden by the mask, unless blocks are prefetched: skipping one would skip loading the next. */
  unlessHidden(block: Expr, body: readonly Stmt[]): readonly Stmt[] {
    const { t, frame } = this;
    return t.ahead ? body : frame.unlessHidden(mul(block, int(t.block)), t.block, t.tiles * t.m, body);
  }

  fragment(role: FragmentDecl["role"]): string {
    const { t } = this;
    const name = this.frame.k.names.fresh(role === "result" ? "sum" : role);
    const [rows, columns] = role === "left" ? [t.m, t.k] : role === "right" ? [t.k, t.n] : [t.m, t.n];
    this.fragments.push({ name, role, dtype: role === "result" ? "f32" : typeOf(t), rows, columns });
    return name;
  }

  fragmentsOf(role: FragmentDecl["role"], count: number): string[] {
    return Array.from({ length: count }, () => this.fragment(role));
  }

  array(array: ArrayDecl): ArrayDecl {
    this.arrays.push(array);
    return array;
  }

  slab(lines: number, elements: number): Slab {
    const array = slabArray(this.frame.k.names.fresh("slab"), typeOf(this.t), 0);
    const pitch = bankFreePitch(elements, array.width);
    const made = { ...array, length: lines * pitch * array.width };
    this.array(made);
    return { array: made, pitch, offset: 0 };
  }

  /** `count` strips of workgroup memory: f32 for lanes to read results, or the operand dtype for left fragments. */
  strips(count: number, dtype: "f16" | "f32"): ArrayDecl {
    const length = 4 * count * this.t.m * stripPitch(this.t);
    return this.array({ name: this.frame.k.names.fresh("strip"), dtype, width: 4, length, space: "workgroup" });
  }

  stripOf(which: Expr): Expr {
    return mul(which, int(this.t.m * stripPitch(this.t)));
  }

  /** The j-th access of a lane in its row of a strip. */
  access(strip: Expr, j: number): Expr {
    const inRow = add(this.part, int(j * lanesOfRow(this.t)));
    return add(strip, add(mul(this.row, int(stripPitch(this.t))), inRow));
  }

  /** The first column of a lane's j-th access. */
  column(j: number): Expr {
    return mul(add(this.part, int(j * lanesOfRow(this.t))), int(4));
  }

  load(fragment: string, array: string, offset: Expr, stride: number, order: MajorOrder): Stmt {
    return { kind: "fragment_load", fragment, from: { array, offset, stride: int(stride), order } };
  }

  /** Writes result fragments side by side to a strip. */
  storeStrip(fragments: readonly string[], strip: ArrayDecl, own: Expr): Stmt[] {
    return fragments.map((fragment, j) => {
      const offset = add(own, int((j * this.t.n) / 4));
      return {
        kind: "fragment_store",
        fragment,
        to: { array: strip.name, offset, stride: int(stripPitch(this.t)), order: "row_major" },
      };
    });
  }

  loadStrip(fragments: readonly string[], strip: ArrayDecl, own: Expr): Stmt[] {
    return fragments.map((fragment, j) =>
      this.load(fragment, strip.name, add(own, int((j * this.t.n) / 4)), stripPitch(this.t), "row_major"),
    );
  }

  /** scores = left · slabᵀ, with a line of the slab per column. */
  scores(scores: readonly string[], lefts: readonly string[], right: string, { array, pitch, offset }: Slab): Stmt[] {
    const { n, k } = this.t;
    return [
      ...scores.map((fragment): Stmt => ({ kind: "fragment_fill", fragment, value: float(0) })),
      ...lefts.flatMap((left, step) =>
        scores.flatMap((fragment, j): Stmt[] => [
          this.load(right, array.name, int(offset + j * n * pitch + (step * k) / array.width), pitch, "column_major"),
          { kind: "fragment_multiply", fragment, left, right },
        ]),
      ),
    ];
  }

  /** sums += weights · slab, a slab line per column of the weights; `first`: the first column fragment of the sums. */
  mix(
    sums: readonly string[],
    [left, right]: readonly [string, string],
    weights: { readonly strip: ArrayDecl; readonly own: Expr },
    { array, pitch, offset }: Slab,
    first = 0,
  ): Stmt[] {
    const { n, k, block } = this.t;
    return Array.from({ length: block / k }, (_, step) => [
      this.load(left, weights.strip.name, add(weights.own, int((step * k) / 4)), stripPitch(this.t), "row_major"),
      ...sums.flatMap((fragment, j): Stmt[] => [
        this.load(
          right,
          array.name,
          int(offset + step * k * pitch + ((first + j) * n) / array.width),
          pitch,
          "row_major",
        ),
        { kind: "fragment_multiply", fragment, left, right },
      ]),
    ]).flat();
  }

  /** Bytes of workgroup memory. */
  static bytes(arrays: readonly ArrayDecl[]): number {
    return arrays.reduce((n, a) => n + a.length * dtypeBytes[a.dtype], 16);
  }
}
