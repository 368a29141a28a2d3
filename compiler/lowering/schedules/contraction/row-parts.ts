/**
 * How workgroups that tile a product take part in a norm of its rows: as an epilogue, they reduce segments of the rows
 * that they have written; as a prologue, kernels that read those rows combine the partial reductions before loading
 * elements.
 */
import { dimExpr, type Env, partsOfProduct, restrict, settled } from "../../../fusion/index.ts";
import { type ArrayDecl, barrier, type Expr, element, int, type Stmt } from "../../../kernel/index.ts";
import { add, and, div, lt, min, mod, sub } from "../../../kernel/simplify.ts";
import { type AdapterFacts, tooMuchMemory } from "../../facts.ts";
import { type Lowering, unflatten } from "../../kernel.ts";
import { ifInside } from "../../loops.ts";
import { range } from "../../range.ts";
import { registerType } from "../../values.ts";
import { lowerRows } from "../row-reduction/row-lowering.ts";
import { type ContractionProblem, clamped, type Side } from "./problem.ts";

/** The threads of a workgroup. */
export interface Threads {
  readonly lid: Expr;
  readonly count: number;
}

/** Why a tile, whose own work uses `bytes` of workgroup memory, cannot do this as well; undefined if it can. */
export function whyNoPartialNorm(
  { k, rows, columns }: ContractionProblem,
  tile: { readonly rows: number; readonly columns: number },
  bytes: number,
  facts: AdapterFacts,
): string | undefined {
  const { partWidth } = k.fused;
  if (partWidth && tile.columns % partWidth !== 0)
    return `tiles of ${tile.columns} columns are not a multiple of the ${partWidth} that a partial reduction of the norm covers`;
  const own = [rows, columns].map((side, i) => (keptOf(k, side).length > 0 ? (i === 0 ? tile.rows : tile.columns) : 0));
  const kept = k.prologues.reduce((n, b) => n + b.fused.stores.length, 0);
  const all = bytes + 4 * kept * Math.max(...own);
  if (all <= facts.maxWorkgroupStorage) return undefined;
  return `its tiles and the row statistics of the norm ${tooMuchMemory(all, facts)}`;
}

/** Results of the prologue reductions that the elements of one side depend on. */
function keptOf(k: Lowering, side: Side) {
  const kept = k.prologues.flatMap((b) => b.fused.stores.map((s) => s.value));
  const seen = new Set<object>();
  const found: typeof kept = [];
  const visit = (node: (typeof kept)[number]): void => {
    if (seen.has(node) || k.shape.reads.has(node)) return;
    seen.add(node);
    if (kept.includes(node)) found.push(node);
    else node.operands.forEach(visit);
  };
  if (kept.length > 0) visit(side.operand);
  return found;
}

/** Per-row prologue results for the elements of a side that a workgroup handles. */
export interface KeptRows {
  readonly arrays: readonly ArrayDecl[];
  /** Computes them in all threads, ending with a barrier. */
  readonly body: readonly Stmt[];
  /** Binds the kept values of element `item`, whose env is given, to their array elements. */
  bind(item: Expr, env: Env): void;
}

/** Combines the partial reductions of rows: the threads divide the `size` elements of a side from `first` on. */
export function keptRows(
  { k }: ContractionProblem,
  side: Side,
  size: number,
  first: Expr,
  batchEnv: Env,
  threads: Threads,
): KeptRows {
  const arrays = new Map(
    keptOf(k, side).map((value) => {
      const dtype = registerType(value.type.dtype);
      return [value, { name: k.names.fresh("kept"), dtype, length: size, space: "workgroup" } satisfies ArrayDecl];
    }),
  );
  const own = k.prologues.filter((b) => b.fused.stores.some((s) => arrays.has(s.value)));
  const body = range(Math.ceil(size / threads.count)).flatMap((turn): Stmt[] => {
    const item = add(threads.lid, int(turn * threads.count));
    const env = new Map([...batchEnv, ...unflatten(clamped(add(first, item), side.size, 1), side.axes)]);
    const stmts = own.flatMap((b) => {
      b.keepsAt = (value) => ({ array: arrays.get(value)!.name, index: item });
      return lowerRows(b, [{ row: rowOf(b, env) }]);
    });
    const inside = lt(item, int(size));
    return ifInside(inside, stmts);
  });
  return {
    arrays: [...arrays.values()],
    body: body.length > 0 && own.length > 0 ? [...body, barrier] : [],
    bind: (item, env) => {
      for (const [value, { name, dtype }] of arrays)
        k.values.bind(value, settled(restrict(env, value), value), element(name, dtype, item));
    },
  };
}

/** The index of the row in a prologue reduction that belongs to an element of a side. */
function rowOf({ fused, places }: Lowering, env: Env): Env {
  const [kept] = fused.stores;
  const own = [...places.get(kept!.value)!.env!];
  return new Map(
    fused.group!.rows.map((c) => {
      const name = own.find(([, index]) => index.kind === "var" && index.name === c.index.name)?.[0];
      return [c.axis.name, env.get(name ?? "") ?? int(0)];
    }),
  );
}

/** Reduces the segments of rows that a workgroup has stored: each segment is reduced by a single thread. */
export function reduceParts(
  { k, rows, columns }: ContractionProblem,
  tile: { readonly rows: number; readonly columns: number },
  firstRow: Expr,
  firstColumn: Expr,
  batchEnv: Env,
  threads: Threads,
): Stmt[] {
  const { partWidth } = k.fused;
  if (!partWidth) return [];
  const across = tile.columns / partWidth;
  const all = tile.rows * across;
  const height = dimExpr(rows.size);
  const parts = (columns.size as number) / partWidth;
  const body = range(Math.ceil(all / threads.count)).flatMap((turn): Stmt[] => {
    const item = add(threads.lid, int(turn * threads.count));
    const row = add(firstRow, div(item, int(across)));
    const part = add(div(firstColumn, int(partWidth)), mod(item, int(across)));
    const own = new Map([...batchEnv, ...unflatten(min(row, sub(height, int(1))), rows.axes)]);
    const stmts = k.epilogues.flatMap((follower) => {
      const { along, part: counter } = partsOfProduct(k.fused, follower.fused, k.places)!;
      const line = new Map(
        follower.fused.group!.rows.map((c): [string, Expr] => {
          if (c.index.name === counter.index.name) return [c.axis.name, min(part, int(parts - 1))];
          return [c.axis.name, own.get(along.get(c.index.name) ?? "") ?? int(0)];
        }),
      );
      return lowerRows(follower, [{ row: line }]);
    });
    const inside = and(lt(item, int(all)), and(lt(row, height), lt(part, int(parts))));
    return ifInside(inside, stmts);
  });
  return [{ kind: "barrier", buffers: true }, ...body];
}
