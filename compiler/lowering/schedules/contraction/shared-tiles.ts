/**
 * Contractions on hardware: a workgroup computes a square of results from slabs of both operands, which its threads bring
 * to shared memory together, so that each element is read from far memory once for the whole square.
 */

import { dimExpr, type Env, restrict, spanOf, typical, typicalSpan } from "../../../fusion/index.ts";
import { boundsOf, type Dim } from "../../../ir/dim.ts";
import {
  type ArrayDecl,
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
} from "../../../kernel/index.ts";
import { add, and, div, lt, min, mod, mul, select, sub } from "../../../kernel/simplify.ts";
import { type AdapterFacts, noSharing } from "../../facts.ts";
import { ceilDiv, type KernelCode, unflatten } from "../../kernel.ts";
import { type Fit, type Schedule, type SizeFact, tileWaste } from "../../schedule.ts";
import { type ContractionProblem, clamped, neighbours, openSide, type Side, storesOf } from "./problem.ts";

/** A contraction's results that a workgroup computes together, from slabs of both operands in memory that it shares. */
interface SharedTile extends Readonly<Record<string, number>> {
  /** Rows and columns: the same number of each. */
  readonly side: number;
  /** Indices of the contracted axes that one slab has. */
  readonly depth: number;
  /** Rows and columns that each thread computes. */
  readonly perThread: number;
}

const tiles: readonly SharedTile[] = [
  { side: 128, depth: 16, perThread: 8 },
  { side: 64, depth: 16, perThread: 4 },
  { side: 32, depth: 32, perThread: 4 },
];
/** Where one side is open until a run: for when it turns out no longer than the tile, the shortest first. */
const shortTiles: readonly SharedTile[] = [
  { side: 32, depth: 32, perThread: 4 },
  { side: 64, depth: 16, perThread: 4 },
];
const leastSide = Math.min(...tiles.map((t) => t.side));

/** Workgroups that keep a GPU busy: below, a smaller tile makes more of them. */
const manyWorkgroups = 128;

/** Floats between the rows of a slab, so that threads that write one column reach different banks. */
const pitchOf = (tile: SharedTile): number => tile.side + 2;

const isGranted = (tile: SharedTile, facts: AdapterFacts): boolean =>
  2 * 4 * tile.depth * pitchOf(tile) <= facts.maxWorkgroupStorage &&
  (tile.side / tile.perThread) ** 2 <= facts.maxWorkgroupInvocations;

export const sharedTiles: Schedule<ContractionProblem, SharedTile> = {
  name: "shared-tiles",
  summary: "a workgroup computes a square of results from slabs of both operands in memory that its threads share",
  settings: (facts) => (facts.software ? noSharing : [...shortTiles, ...tiles].filter((t) => isGranted(t, facts))),
  fits,
  byRange: true,
  cost: costOf,
  waste: ({ rows, columns }, { side }) =>
    tileWaste([
      [typical(rows.size), side],
      [typical(columns.size), side],
    ]),
  lower: (problem, tile) => new SharedLowering(problem, tile).run(),
};

function costOf(problem: ContractionProblem, tile: SharedTile): number {
  return workgroups(problem, tile) >= manyWorkgroups ? 1 / tile.side : 1 + tile.side;
}

/** Workgroups along rows, columns and batches, at the sizes that choices are made for. */
const counts = ({ rows, columns, batch }: ContractionProblem, { side }: SharedTile): number[] => [
  Math.ceil(typical(rows.size) / side),
  Math.ceil(typical(columns.size) / side),
  typicalSpan(batch),
];

const workgroups = (problem: ContractionProblem, tile: SharedTile): number =>
  counts(problem, tile).reduce((n, c) => n * c, 1);

function fits(problem: ContractionProblem, tile: SharedTile, facts: AdapterFacts): Fit {
  const { rows, columns, depth, batch } = problem;
  const isShort = shortTiles.includes(tile);
  const short = isShort ? openSide(problem) : undefined;
  if (isShort && !short) return "no side is open until a run";
  if (isShort && usualSide(problem, facts) <= tile.side) return "the tile for any length is no longer";
  const whole = [rows, columns].filter((s) => s !== short).map((s) => typical(s.size));
  if (2 * Math.min(...whole) < tile.side) return `a tile of ${tile.side} would be more than half empty`;
  if (typical(depth) < tile.depth) return `a sum of ${depth} is shorter than a slab`;
  if (Math.max(...counts(problem, tile)) > facts.maxWorkgroupsPerDimension)
    return "the adapter takes fewer workgroups in a line";
  // A dispatch has three lines of workgroups: what is open until a run must fit them.
  const most = facts.maxWorkgroupsPerDimension;
  const lines: SizeFact[] = [
    { dim: rows.size, max: short === rows ? tile.side : most * leastSide },
    { dim: columns.size, max: short === columns ? tile.side : most * leastSide },
    { dim: spanOf(batch), max: most },
  ];
  const other = (dim: Dim) => (dim === rows.size ? columns.size : rows.size);
  const open = lines.filter(({ dim, max }) => mostOf(dim, [depth, other(dim)]) > max);
  return open.length === 0 || { assuming: open };
}

/** The side of the tile that is taken for any length. */
function usualSide(problem: ContractionProblem, facts: AdapterFacts): number {
  const fitting = tiles.filter((t) => isGranted(t, facts) && typeof fits(problem, t, facts) !== "string");
  const costs = fitting.map((t) => costOf(problem, t));
  return fitting[costs.indexOf(Math.min(...costs))]?.side ?? 0;
}

/** The largest that a side can be: as far as it is declared to go, and no tensor that has it is longer than i32 counts. */
function mostOf(dim: Dim, beside: readonly Dim[]): number {
  const least = Math.max(...beside.map((d) => boundsOf(d).min));
  return Math.min(boundsOf(dim).max, Math.floor((2 ** 31 - 1) / least));
}

/** One operand's slab in shared memory: element `i` of step `s` of the sum is at s · pitch + i. */
interface Slab {
  readonly array: ArrayDecl;
  readonly side: Side;
  /** The first of the side's elements that the workgroup has. */
  readonly first: Expr;
}

class SharedLowering {
  private readonly p: ContractionProblem;
  private readonly tile: SharedTile;
  /** Threads along each side of the tile. */
  private readonly across: number;
  private readonly threads: number;
  private readonly lid: Expr;
  private readonly out: Stmt[] = [];

  constructor(problem: ContractionProblem, tile: SharedTile) {
    this.p = problem;
    this.tile = tile;
    this.across = tile.side / tile.perThread;
    this.threads = this.across ** 2;
    this.lid = variable("lid", "i32", { min: 0, max: this.threads - 1 });
  }

  run(): KernelCode {
    const { rows, columns, batch } = this.p;
    const { side, perThread } = this.tile;
    // Workgroups that run together share their columns, the side that weights are on.
    const grid = [
      ceilDiv(dimExpr(rows.size), side),
      ceilDiv(dimExpr(columns.size), side),
      dimExpr(spanOf(batch)),
    ] as const;
    const [down, right, z] = ["wid_x", "wid_y", "wid_z"].map((n, i) =>
      variable(n, "i32", { min: 0, max: rangeOf(grid[i]!).max - 1 }),
    );
    const batchEnv = unflatten(this.bound("z", z!), batch);
    const [left, top] = [this.slab(rows, down!), this.slab(columns, right!)];
    const row = this.bound("ty", div(this.lid, int(this.across)));
    const column = this.bound("tx", mod(this.lid, int(this.across)));
    const sums = range(perThread).map(() => range(perThread).map(() => variable(this.p.k.names.fresh("c"), "f32")));
    for (const c of sums.flat()) this.out.push({ kind: "var", target: c, value: float(0) });
    this.out.push(this.sum(left, top, row, column, sums, batchEnv));
    this.store(add(left.first, row), add(top.first, column), sums, batchEnv);
    return {
      body: this.out,
      grid,
      workgroup: [this.threads, 1, 1],
      arrays: [left.array, top.array],
    };
  }

  private bound(prefix: string, value: Expr): Expr {
    if (value.kind === "const") return value;
    const { target, stmt } = this.p.k.let(prefix, value);
    this.out.push(stmt);
    return target;
  }

  private slab(side: Side, workgroup: Expr): Slab {
    const length = this.tile.depth * pitchOf(this.tile);
    const array: ArrayDecl = { name: this.p.k.names.fresh("slab"), dtype: "f32", length, space: "workgroup" };
    return { array, side, first: this.bound("f", mul(workgroup, int(this.tile.side))) };
  }

  /** Slab by slab: all threads bring it, then each adds its products. */
  private sum(left: Slab, top: Slab, row: Expr, column: Expr, sums: readonly (readonly Var[])[], batchEnv: Env): Stmt {
    const count = ceilDiv(dimExpr(this.p.depth), this.tile.depth);
    const index = variable(this.p.k.names.fresh("k"), "i32", { min: 0, max: rangeOf(count).max - 1 });
    const from = mul(index, int(this.tile.depth));
    const body: Stmt[] = [
      ...this.fill(left, from, batchEnv),
      ...this.fill(top, from, batchEnv),
      { kind: "barrier" },
      this.multiply(left, top, row, column, sums),
      { kind: "barrier" },
    ];
    return { kind: "for", index, from: int(0), to: count, step: 1, body };
  }

  /** Brings one slab: each thread some elements, such that neighbouring threads read neighbours in memory. */
  private fill({ array, side, first }: Slab, from: Expr, batchEnv: Env): Stmt[] {
    const pitch = int(pitchOf(this.tile));
    const { depth, over } = this.p;
    const set: SetElement = (step, item) => {
      const index = add(from, step);
      const at = unflatten(clamped(add(first, item), side.size, 4), side.axes);
      const env = new Map([...batchEnv, ...at, ...unflatten(clamped(index, depth, 4), over)]);
      const value = this.p.k.values.at(side.operand, restrict(env, side.operand));
      // Past the end of the sum both operands are 0; past the end of a side results are not stored.
      const filled = select(lt(index, dimExpr(depth)), value, float(0));
      return { kind: "set", array: array.name, index: add(mul(step, pitch), item), value: filled };
    };
    const isDeep = neighbours(this.p.k, over, side, unflatten(int(0), side.axes), batchEnv);
    return isDeep ? this.fillDeep(set) : this.fillWide(set);
  }

  /** Four steps of the sum at once, where these are neighbours in memory. */
  private fillDeep(set: SetElement): Stmt[] {
    const quads = this.tile.depth / 4;
    return range((this.tile.side * quads) / this.threads).flatMap((turn) => {
      const at = add(this.lid, int(turn * this.threads));
      return range(4).map((u) => set(add(mul(mod(at, int(quads)), int(4)), int(u)), div(at, int(quads))));
    });
  }

  /** One element at a time, where the side's own elements are neighbours in memory. */
  private fillWide(set: SetElement): Stmt[] {
    const { side, depth } = this.tile;
    return range((side * depth) / this.threads).map((turn) => {
      const at = add(this.lid, int(turn * this.threads));
      return set(div(at, int(side)), mod(at, int(side)));
    });
  }

  /** The products of one slab: every thread its rows times its columns, step by step. */
  private multiply(left: Slab, top: Slab, row: Expr, column: Expr, sums: readonly (readonly Var[])[]): Stmt {
    const step = indexVar(this.p.k.names.fresh("k"), this.tile.depth);
    const body: Stmt[] = [];
    const values = ({ array }: Slab, first: Expr, prefix: string): Var[] =>
      sums.map((_, i) => {
        const index = add(mul(step, int(pitchOf(this.tile))), add(first, int(i * this.across)));
        const { target, stmt } = this.p.k.let(prefix, element(array.name, "f32", index));
        body.push(stmt);
        return target;
      });
    const [a, b] = [values(left, row, "l"), values(top, column, "r")];
    for (const [x, line] of sums.entries())
      for (const [y, c] of line.entries())
        body.push({ kind: "assign", target: c, value: floatArith("add", c, floatArith("mul", a[x]!, b[y]!)) });
    return { kind: "for", index: step, from: int(0), to: int(this.tile.depth), step: 1, body };
  }

  /** Stores a thread's sums, its rows and columns `across` apart, where they are within the result. */
  private store(row: Expr, column: Expr, sums: readonly (readonly Var[])[], batchEnv: Env): void {
    const { rows, columns } = this.p;
    for (const [x, line] of sums.entries()) {
      const i = add(row, int(x * this.across));
      for (const [y, c] of line.entries()) {
        const j = add(column, int(y * this.across));
        const inside = and(lt(i, dimExpr(rows.size)), lt(j, dimExpr(columns.size)));
        if (inside.kind === "const" && inside.value === 0) continue; // past the end in every workgroup
        // The guard holds these bounds; the expression says so.
        const [m, n] = [rows, columns].map((s, d) => min(d === 0 ? i : j, sub(dimExpr(s.size), int(1)))) as [
          Expr,
          Expr,
        ];
        const env = new Map([...batchEnv, ...unflatten(m, rows.axes), ...unflatten(n, columns.axes)]);
        const body = storesOf(this.p.k, env, c);
        this.out.push(...(inside.kind === "const" ? body : [{ kind: "if", condition: inside, body } as Stmt]));
      }
    }
  }
}

/** Sets an element of a slab: that of a step of the sum, for one of the side's elements. */
type SetElement = (step: Expr, item: Expr) => Stmt;

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
