/**
 * Contractions on hardware: a workgroup computes a square of results from slabs of both operands, which its threads bring
 * to shared memory together, so that each element is read from far memory once for the whole square.
 */

import { type Env, restrict, span } from "../fusion/access.ts";
import type { Placement } from "../fusion/groups.ts";
import type { Axis } from "../ir/type.ts";
import { type Expr, element, float, floatArith, indexVar, int, type Var, variable } from "../kernel/expr.ts";
import type { ArrayDecl, Kernel, Stmt } from "../kernel/kernel.ts";
import { add, and, div, lt, min, mod, mul, select } from "../kernel/simplify.ts";
import { contractedAxes, neighbours, type Side, type Sides, storesOf } from "./contraction-sides.ts";
import { type Lowering, unflatten } from "./kernel.ts";
import { type SharedTile, slabPitch } from "./schedule.ts";

/** Workgroups that keep a GPU busy: below, a smaller tile makes more of them. */
const manyWorkgroups = 128;

/** The tile for a contraction: the largest that makes many workgroups, else the smallest; none where it would be empty. */
export function sharedTileFor(k: Lowering, { rows, columns, batch }: Sides, depth: number): SharedTile | undefined {
  const { sharedTiles, facts } = k.schedule;
  const batches = span(batch);
  const counts = ({ side }: SharedTile) => [Math.ceil(rows.size / side), Math.ceil(columns.size / side), batches];
  const fitting = sharedTiles.filter(
    (t) =>
      2 * Math.min(rows.size, columns.size) >= t.side &&
      depth >= t.depth &&
      Math.max(...counts(t)) <= facts.maxWorkgroupsPerDimension,
  );
  return fitting.find((t) => counts(t).reduce((n, c) => n * c, 1) >= manyWorkgroups) ?? fitting.at(-1);
}

/** One operand's slab in shared memory: element `i` of step `s` of the sum is at s · pitch + i. */
interface Slab {
  readonly array: ArrayDecl;
  readonly side: Side;
  /** The first of the side's elements that the workgroup has. */
  readonly first: Expr;
}

export const lowerShared = (
  k: Lowering,
  places: Placement,
  tile: SharedTile,
  sides: Sides,
): Pick<Kernel, "body" | "grid" | "workgroup" | "arrays"> => new SharedLowering(k, places, tile, sides).run();

class SharedLowering {
  private readonly k: Lowering;
  private readonly places: Placement;
  private readonly tile: SharedTile;
  private readonly sides: Sides;
  private readonly over: readonly Axis[];
  /** Indices of the sum. */
  private readonly depth: number;
  /** Threads along each side of the tile. */
  private readonly across: number;
  private readonly threads: number;
  private readonly lid: Expr;
  private readonly out: Stmt[] = [];

  constructor(k: Lowering, places: Placement, tile: SharedTile, sides: Sides) {
    this.k = k;
    this.places = places;
    this.tile = tile;
    this.sides = sides;
    this.over = contractedAxes(k.fused.group!.cores[0]!);
    this.depth = span(this.over);
    this.across = tile.side / tile.perThread;
    this.threads = this.across ** 2;
    this.lid = variable("lid", "i32", { min: 0, max: this.threads - 1 });
  }

  run(): Pick<Kernel, "body" | "grid" | "workgroup" | "arrays"> {
    const { rows, columns, batch } = this.sides;
    const { side, perThread } = this.tile;
    // Workgroups that run together share their columns, the side that weights are on.
    const grid = [Math.ceil(rows.size / side), Math.ceil(columns.size / side), span(batch)] as const;
    const [down, right, z] = ["wid_x", "wid_y", "wid_z"].map((n, i) =>
      variable(n, "i32", { min: 0, max: grid[i]! - 1 }),
    );
    const batchEnv = unflatten(this.bound("z", z!), batch);
    const [left, top] = [this.slab(rows, down!), this.slab(columns, right!)];
    const row = this.bound("ty", div(this.lid, int(this.across)));
    const column = this.bound("tx", mod(this.lid, int(this.across)));
    const sums = range(perThread).map(() => range(perThread).map(() => variable(this.k.names.fresh("c"), "f32")));
    for (const c of sums.flat()) this.out.push({ kind: "var", target: c, value: float(0) });
    this.out.push(this.sum(left, top, row, column, sums, batchEnv));
    this.store(add(left.first, row), add(top.first, column), sums, batchEnv);
    return {
      body: this.out,
      grid: [int(grid[0]), int(grid[1]), int(grid[2])],
      workgroup: [this.threads, 1, 1],
      arrays: [left.array, top.array],
    };
  }

  private bound(prefix: string, value: Expr): Expr {
    if (value.kind === "const") return value;
    const { target, stmt } = this.k.let(prefix, value);
    this.out.push(stmt);
    return target;
  }

  private slab(side: Side, workgroup: Expr): Slab {
    const length = this.tile.depth * slabPitch(this.tile);
    const array: ArrayDecl = { name: this.k.names.fresh("slab"), dtype: "f32", length, space: "workgroup" };
    return { array, side, first: this.bound("f", mul(workgroup, int(this.tile.side))) };
  }

  /** Slab by slab: all threads bring it, then each adds its products. */
  private sum(left: Slab, top: Slab, row: Expr, column: Expr, sums: readonly (readonly Var[])[], batchEnv: Env): Stmt {
    const count = Math.ceil(this.depth / this.tile.depth);
    const index = indexVar(this.k.names.fresh("k"), count);
    const from = mul(index, int(this.tile.depth));
    const body: Stmt[] = [
      ...this.fill(left, from, batchEnv),
      ...this.fill(top, from, batchEnv),
      { kind: "barrier" },
      this.multiply(left, top, row, column, sums),
      { kind: "barrier" },
    ];
    return { kind: "for", index, from: int(0), to: int(count), step: 1, body };
  }

  /** Brings one slab: each thread some elements, such that neighbouring threads read neighbours in memory. */
  private fill({ array, side, first }: Slab, from: Expr, batchEnv: Env): Stmt[] {
    const pitch = int(slabPitch(this.tile));
    const set: SetElement = (step, item) => {
      const index = add(from, step);
      const at = unflatten(clamped(add(first, item), side.size), side.axes);
      const env = new Map([...batchEnv, ...at, ...unflatten(clamped(index, this.depth), this.over)]);
      const value = this.k.values.at(side.operand, restrict(env, side.operand));
      // Past the end of the sum both operands are 0; past the end of a side results are not stored.
      const filled = select(lt(index, int(this.depth)), value, float(0));
      return { kind: "set", array: array.name, index: add(mul(step, pitch), item), value: filled };
    };
    const isDeep = neighbours(this.k, this.over, side, unflatten(int(0), side.axes), batchEnv);
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
    const step = indexVar(this.k.names.fresh("k"), this.tile.depth);
    const body: Stmt[] = [];
    const values = ({ array }: Slab, first: Expr, prefix: string): Var[] =>
      sums.map((_, i) => {
        const index = add(mul(step, int(slabPitch(this.tile))), add(first, int(i * this.across)));
        const { target, stmt } = this.k.let(prefix, element(array.name, "f32", index));
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
    const { rows, columns } = this.sides;
    for (const [x, line] of sums.entries()) {
      const i = add(row, int(x * this.across));
      for (const [y, c] of line.entries()) {
        const j = add(column, int(y * this.across));
        const inside = and(lt(i, int(rows.size)), lt(j, int(columns.size)));
        if (inside.kind === "const" && inside.value === 0) continue; // past the end in every workgroup
        // The guard holds these bounds; the expression says so.
        const [m, n] = [min(i, int(rows.size - 1)), min(j, int(columns.size - 1))];
        const env = new Map([...batchEnv, ...unflatten(m, rows.axes), ...unflatten(n, columns.axes)]);
        const body = storesOf(this.k, this.places, env, c);
        this.out.push(...(inside.kind === "const" ? body : [{ kind: "if", condition: inside, body } as Stmt]));
      }
    }
  }
}

/** Sets an element of a slab: that of a step of the sum, for one of the side's elements. */
type SetElement = (step: Expr, item: Expr) => Stmt;

/** An index held below `size`; where fours fit, by fours, so that those of one four stay neighbours. */
function clamped(index: Expr, size: number): Expr {
  if (size % 4 !== 0) return min(index, int(size - 1));
  return add(mul(min(div(index, int(4)), int(size / 4 - 1)), int(4)), mod(index, int(4)));
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
