/** Contractions in which each thread computes a tile of results independently, in registers. */
import { dimExpr, type Env, restrict, spanOf, typical } from "../../../fusion/index.ts";
import { boundsOf, type Dim, divideDims } from "../../../ir/dim.ts";
import { type Expr, float, floatArith, int, type Stmt, type Var, variable } from "../../../kernel/index.ts";
import { add, div, lt, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { independentThreads } from "../../facts.ts";
import { ceilDiv, type KernelCode, type Lowering, unflatten } from "../../kernel.ts";
import { ifInside, loopOver } from "../../loops.ts";
import { range } from "../../range.ts";
import type { Schedule } from "../../schedule.ts";
import { compiledAndRun, typicalOnThreads } from "../compile-time.ts";
import { type ContractionProblem, isContiguous, openSide, type Side, storesOf } from "./problem.ts";

export interface Registers extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Maximum rows and columns of a tile. */
  readonly maxTile: number;
  /** For a side that is open until a run: its assumed maximum length, all of it in one tile; 0 for any length. */
  readonly maxOpenSide: number;
}

export const registers: Schedule<ContractionProblem, Registers> = {
  name: "registers",
  summary: "each thread computes a tile of results, accumulated in registers",
  settings: (facts) =>
    [1, 4, 0].flatMap((maxOpenSide) =>
      (facts.software ? [8, 4, 2] : [8]).map((maxTile) => ({
        threads: independentThreads(facts),
        maxTile,
        maxOpenSide,
      })),
    ),
  fits: (problem, { maxOpenSide }) => {
    if (maxOpenSide === 0) return true;
    const side = openSide(problem);
    return side
      ? { assuming: [{ dim: side.size, max: maxOpenSide }] }
      : "it needs exactly one of M and N to be symbolic";
  },
  byRange: true,
  cost: (problem, tile, { software }) => (software ? costOnThreads(problem, tile) : tile.maxOpenSide || tile.maxTile),
  lower: lowerInRegisters,
};

/** The largest power of two, from `maxTile / 2` up, that divides the size; otherwise the largest that wastes little. */
function tileFor(size: Dim, maxTile: number): number {
  const n = typical(size);
  for (let tile = maxTile; tile > 1 && tile > maxTile / 4; tile >>= 1) if (n % tile === 0) return tile;
  for (let tile = maxTile; tile > 1; tile >>= 1) if (n >= 4 * tile) return tile;
  let tile = 1;
  while (tile * 2 <= Math.min(n, maxTile)) tile *= 2;
  return tile;
}

/** Whether the settings are for a short side, all of which is in one tile. */
const isShort = (problem: ContractionProblem, side: Side, { maxOpenSide }: Registers): boolean =>
  maxOpenSide > 0 && side === openSide(problem);

/** The length of a tile along a side. */
const tileOf = (problem: ContractionProblem, side: Side, settings: Registers): number =>
  isShort(problem, side, settings)
    ? Math.min(settings.maxOpenSide, boundsOf(side.size).max)
    : tileFor(side.size, settings.maxTile);

/**
 * Milliseconds for compiling and running, measured on SwiftShader: of every product, and of the loads that it shares.
 */
function costOnThreads(problem: ContractionProblem, tile: Registers): number {
  const { rows, columns, depth, batch, products } = problem;
  const [height, width] = [rows, columns].map((side) => tileOf(problem, side, tile)) as [number, number];
  const tilesOf = (side: Side, length: number) =>
    isShort(problem, side, tile) ? 1 : Math.ceil(typicalOnThreads(side.size) / length);
  const terms = typicalOnThreads(depth) * typicalOnThreads(spanOf(batch)) * products.length;
  const each = 1.2e-6 * height * width + 1.9e-6 * (height + width);
  const running = each * terms * tilesOf(rows, height) * tilesOf(columns, width);
  return compiledAndRun(20 + 4 * height * width * products.length, running);
}

/** One index of a side, and whether it is within bounds. */
interface Item {
  readonly inside: Expr;
  readonly env: Env;
}

/** The indices of a side in a thread's tile; past its end the last one is repeated, and its results not stored. */
function indices(side: Side, tile: number, tileIndex: Expr): Item[] {
  return Array.from({ length: tile }, (_, i) => {
    const exact = add(mul(tileIndex, int(tile)), int(i));
    const size = dimExpr(side.size);
    return { inside: lt(exact, size), env: unflatten(min(exact, sub(size, int(1))), side.axes) };
  });
}

/**
 * A tile of results in registers; with `along`, one for each of that many neighbours along the last batch axis, along
 * which adjacent threads lie as well.
 */
export function lowerInRegisters(problem: ContractionProblem, settings: Registers, along?: number): KernelCode {
  const { k, rows, columns, batch, over, products } = problem;
  const tiles = { rows: tileOf(problem, rows, settings), columns: tileOf(problem, columns, settings) };
  const tilesOf = (side: Side, length: number) =>
    isShort(problem, side, settings) ? int(1) : ceilDiv(dimExpr(side.size), length);
  const [down, across] = [tilesOf(rows, tiles.rows), tilesOf(columns, tiles.columns)];
  const runs = dimExpr(divideDims(spanOf(batch), along ?? 1)!);
  return k.perThread(mul(mul(down, across), runs), settings.threads, (item) => {
    const out: Stmt[] = [];
    const bound = (prefix: string, value: Expr): Expr => {
      if (value.kind === "const") return value;
      const { target, stmt } = k.let(prefix, value);
      out.push(stmt);
      return target;
    };
    const tile = along ? div(item, runs) : item;
    const line = div(tile, across);
    // Of a single batch there is nothing to take a remainder of, however many rows there are.
    const isAlone = spanOf(batch) === 1 && down.kind !== "const";
    const run = along ? mod(item, runs) : div(item, mul(across, down));
    const first = isAlone ? int(0) : bound("z", run);
    const batches = range(along ?? 1).map((u) => unflatten(add(mul(first, int(along ?? 1)), int(u)), batch));
    const i = indices(rows, tiles.rows, bound("m", isAlone || along ? line : mod(line, down)));
    const j = indices(columns, tiles.columns, bound("n", mod(tile, across)));
    const acc = batches.map(() => products.map(() => i.map(() => j.map(() => variable(k.names.fresh("c"), "f32")))));
    for (const c of acc.flat(3)) out.push({ kind: "var", target: c, value: float(0) });
    const isRun = (side: Side, { env }: Item) => isContiguous(k, over, side, env, batches[0]!);
    const unroll = !along && (isRun(rows, i[0]!) || isRun(columns, j[0]!));
    const step = (env: Env) =>
      batches.flatMap((own, z) =>
        products.flatMap((p, n) => product(k, p.rows, p.columns, i, j, acc[z]![n]!, [own, env])),
      );
    out.push(...loopOver(k, over, step, { unroll: unroll ? 4 : 1 }));
    return [...out, ...storeTile(k, batches, i, j, acc)];
  });
}

/** Stores the results of a tile. */
function storeTile(
  k: Lowering,
  batches: readonly Env[],
  i: readonly Item[],
  j: readonly Item[],
  acc: readonly (readonly (readonly (readonly Var[])[])[])[],
): Stmt[] {
  // One condition for a row that may be past the end: stores of neighbours within it are made together.
  return i.flatMap((row, x) => {
    const body = j.flatMap((column, y) => {
      const stores = batches.flatMap((own, z) => {
        const sums = acc[z]!.map((c) => c[x]![y]!);
        return storesOf(k, new Map([...own, ...row.env, ...column.env]), ...sums);
      });
      return ifInside(column.inside, stores);
    });
    return ifInside(row.inside, body);
  });
}

/** One step of the sum: the outer product of a column of the left tile and a row of the right one. */
function product(
  k: Lowering,
  rows: Side,
  columns: Side,
  i: readonly { env: Env }[],
  j: readonly { env: Env }[],
  acc: readonly (readonly Var[])[],
  common: readonly Env[],
): Stmt[] {
  const out: Stmt[] = [];
  const values = (side: Side, items: readonly { env: Env }[], prefix: string) =>
    items.map(({ env }) => {
      const all = new Map([...common.flatMap((c) => [...c]), ...env]);
      const { target, stmt } = k.let(prefix, k.values.at(side.operand, restrict(all, side.operand)));
      out.push(stmt);
      return target;
    });
  const left = values(rows, i, "l");
  const right = values(columns, j, "r");
  left.forEach((l, x) => {
    right.forEach((r, y) => {
      const c = acc[x]![y]!;
      out.push({ kind: "assign", target: c, value: floatArith("add", c, floatArith("mul", l, r)) });
    });
  });
  return out;
}
