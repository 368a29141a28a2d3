/**
 * Contractions on hardware: a workgroup computes a square of results from slabs of both operands, which its threads bring
 * to shared memory together, so that each element is read from far memory once for the whole square.
 */
import type { Node } from "../ir/node.ts";
import { type Expr, element, float, floatArith, indexVar, int, type Var, variable } from "../kernel/expr.ts";
import type { ArrayDecl, Kernel, Stmt } from "../kernel/kernel.ts";
import { add, and, div, lt, min, mod, mul, select } from "../kernel/simplify.ts";
import { contractedAxes, neighbours, type Side, type Sides, storesOf } from "./contraction-sides.ts";
import type { Placement } from "./fuse-groups.ts";
import { type Env, restrict } from "./lower-access.ts";
import { type Lowering, unflatten } from "./lower-kernel.ts";
import { span } from "./lower-values.ts";
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

export function lowerShared(
  k: Lowering,
  places: Placement,
  tile: SharedTile,
  { rows, columns, batch }: Sides,
): Pick<Kernel, "body" | "grid" | "workgroup" | "arrays"> {
  const core = k.fused.group!.cores[0]!;
  const over = contractedAxes(core);
  const depth = span(over);
  const across = tile.side / tile.perThread;
  const threads = across ** 2;
  const [down, right] = [Math.ceil(rows.size / tile.side), Math.ceil(columns.size / tile.side)];
  const batches = span(batch);

  const lid = variable("lid", "i32", { min: 0, max: threads - 1 });
  const out: Stmt[] = [];
  const bound = (prefix: string, value: Expr): Expr => {
    if (value.kind === "const") return value;
    const { target, stmt } = k.let(prefix, value);
    out.push(stmt);
    return target;
  };
  // Neighbouring workgroups share their columns, the side that weights are on.
  const place = (name: string, count: number) => variable(name, "i32", { min: 0, max: count - 1 });
  const batchEnv = unflatten(bound("z", place("wid_z", batches)), batch);
  const slab = (side: Side, workgroup: Expr): Slab => ({
    array: {
      name: k.names.fresh("slab"),
      dtype: "f32",
      length: tile.depth * slabPitch(tile),
      space: "workgroup",
    },
    side,
    first: bound("f", mul(workgroup, int(tile.side))),
  });
  const left = slab(rows, place("wid_x", down));
  const top = slab(columns, place("wid_y", right));
  const row = bound("ty", div(lid, int(across)));
  const column = bound("tx", mod(lid, int(across)));

  const own = Array.from({ length: tile.perThread }, (_, i) => i);
  const acc = own.map(() => own.map(() => variable(k.names.fresh("c"), "f32")));
  for (const c of acc.flat()) out.push({ kind: "var", target: c, value: float(0) });

  const slabs = indexVar(k.names.fresh("k"), Math.ceil(depth / tile.depth));
  const from = mul(slabs, int(tile.depth));
  out.push({
    kind: "for",
    index: slabs,
    from: int(0),
    to: int(Math.ceil(depth / tile.depth)),
    step: 1,
    body: [
      ...fill(k, left, over, batchEnv, from, depth, tile, lid, threads),
      ...fill(k, top, over, batchEnv, from, depth, tile, lid, threads),
      { kind: "barrier" },
      multiply(k, left, top, row, column, acc, across, tile),
      { kind: "barrier" },
    ],
  });
  for (const [x, line] of acc.entries()) {
    const i = add(left.first, add(row, int(x * across)));
    for (const [y, c] of line.entries()) {
      const j = add(top.first, add(column, int(y * across)));
      const inside = and(lt(i, int(rows.size)), lt(j, int(columns.size)));
      if (inside.kind === "const" && inside.value === 0) continue; // past the end in every workgroup
      // The guard holds these bounds; the expression says so.
      const [m, n] = [min(i, int(rows.size - 1)), min(j, int(columns.size - 1))];
      const env = new Map([...batchEnv, ...unflatten(m, rows.axes), ...unflatten(n, columns.axes)]);
      const body = storesOf(k, places, env, c);
      out.push(...(inside.kind === "const" ? body : [{ kind: "if", condition: inside, body } as Stmt]));
    }
  }
  return {
    body: out,
    grid: [int(down), int(right), int(batches)],
    workgroup: [threads, 1, 1],
    arrays: [left.array, top.array],
  };
}

/** Brings one slab: each thread some elements, such that neighbouring threads read neighbours in memory. */
function fill(
  k: Lowering,
  slab: Slab,
  over: Node["type"]["axes"],
  batchEnv: Env,
  from: Expr,
  depth: number,
  tile: SharedTile,
  lid: Expr,
  threads: number,
): Stmt[] {
  const { side } = slab;
  const pitch = int(slabPitch(tile));
  const store = (step: Expr, item: Expr): Stmt => {
    const index = add(from, step);
    const inner = clamped(index, depth);
    const at = unflatten(clamped(add(slab.first, item), side.size), side.axes);
    const env = new Map([...batchEnv, ...at, ...unflatten(inner, over)]);
    const value = k.values.at(side.operand, restrict(env, side.operand));
    // Past the end of the sum both operands are 0; past the end of a side results are not stored.
    const filled = select(lt(index, int(depth)), value, float(0));
    return { kind: "set", array: slab.array.name, index: add(mul(step, pitch), item), value: filled };
  };
  const isDeep = neighbours(k, over, side, unflatten(int(0), side.axes), batchEnv);
  return isDeep ? fillDeep(tile, lid, threads, store) : fillWide(tile, lid, threads, store);
}

/** An index held below `size`; where fours fit, by fours, so that those of one four stay neighbours. */
function clamped(index: Expr, size: number): Expr {
  if (size % 4 !== 0) return min(index, int(size - 1));
  return add(mul(min(div(index, int(4)), int(size / 4 - 1)), int(4)), mod(index, int(4)));
}

/** Four steps of the sum at once, where these are neighbours in memory. */
function fillDeep(tile: SharedTile, lid: Expr, threads: number, store: (step: Expr, item: Expr) => Stmt): Stmt[] {
  const quads = tile.depth / 4;
  return range((tile.side * quads) / threads).flatMap((turn) => {
    const at = add(lid, int(turn * threads));
    return range(4).map((u) => store(add(mul(mod(at, int(quads)), int(4)), int(u)), div(at, int(quads))));
  });
}

/** One element at a time, where the side's own elements are neighbours in memory. */
function fillWide(tile: SharedTile, lid: Expr, threads: number, store: (step: Expr, item: Expr) => Stmt): Stmt[] {
  return range((tile.side * tile.depth) / threads).map((turn) => {
    const at = add(lid, int(turn * threads));
    return store(div(at, int(tile.side)), mod(at, int(tile.side)));
  });
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** The products of one slab: every thread its rows times its columns, step by step. */
function multiply(
  k: Lowering,
  left: Slab,
  top: Slab,
  row: Expr,
  column: Expr,
  acc: readonly (readonly Var[])[],
  across: number,
  tile: SharedTile,
): Stmt {
  const step = indexVar(k.names.fresh("k"), tile.depth);
  const body: Stmt[] = [];
  const values = (slab: Slab, first: Expr, prefix: string): Var[] =>
    acc.map((_, i) => {
      const index = add(mul(step, int(slabPitch(tile))), add(first, int(i * across)));
      const { target, stmt } = k.let(prefix, element(slab.array.name, "f32", index));
      body.push(stmt);
      return target;
    });
  const a = values(left, row, "l");
  const b = values(top, column, "r");
  acc.forEach((line, x) => {
    line.forEach((c, y) => {
      body.push({ kind: "assign", target: c, value: floatArith("add", c, floatArith("mul", a[x]!, b[y]!)) });
    });
  });
  return { kind: "for", index: step, from: int(0), to: int(tile.depth), step: 1, body };
}
