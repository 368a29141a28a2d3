/**
 * Contractions: every thread computes a tile of results in registers, and then everything elementwise that follows.
 * The axes that only one operand has are the tile's rows and columns, flattened; shared ones are batches.
 */
import type { Node } from "../ir/node.ts";
import { type Axis, findAxis, hasAxis } from "../ir/type.ts";
import { type Expr, float, floatArith, indexVar, int, type Var, variable } from "../kernel/expr.ts";
import type { Stmt } from "../kernel/kernel.ts";
import { add, and, div, lt, min, mod, mul } from "../kernel/simplify.ts";
import type { Placement } from "./fuse-groups.ts";
import type { Env } from "./lower-access.ts";
import { restrict } from "./lower-access.ts";
import { type LoweredKernel, type Lowering, unflatten } from "./lower-kernel.ts";
import { advances, loopOver } from "./lower-loops.ts";
import { coordinatesOf, envAt } from "./lower-row-reduction.ts";
import { span } from "./lower-values.ts";

/** One side of the product: its operand, its own axes and how many of their elements a thread takes. */
interface Side {
  readonly operand: Node;
  readonly axes: readonly Axis[];
  readonly size: number;
  readonly tile: number;
}

/** The largest tile up to `most` that divides the size, or `most` itself where the waste is small. */
function tileFor(size: number, most: number): number {
  for (let tile = most; tile > most / 4; tile >>= 1) if (size % tile === 0) return tile;
  for (let tile = most; tile > 1; tile >>= 1) if (size >= 4 * tile) return tile;
  let tile = 1;
  while (tile * 2 <= Math.min(size, most)) tile *= 2;
  return tile;
}

function sides(core: Node, k: Lowering): { rows: Side; columns: Side; batch: readonly Axis[] } {
  const [a, b] = [core.operands[0]!, core.operands[1]!];
  const own = (x: Node, y: Node) => core.type.axes.filter((c) => hasAxis(x.type, c.name) && !hasAxis(y.type, c.name));
  const batch = core.type.axes.filter((c) => hasAxis(a.type, c.name) && hasAxis(b.type, c.name));
  // The columns are neighbours in memory: the side of the result's last axis.
  const last = core.type.axes.at(-1)!;
  const swap = own(a, b).includes(last);
  const [left, right] = swap ? [b, a] : [a, b];
  const { tile } = k.schedule;
  const side = (x: Node, y: Node, most: number): Side => {
    const axes = own(x, y);
    return { operand: x, axes, size: span(axes), tile: tileFor(span(axes), most) };
  };
  return { rows: side(left, right, tile.rows), columns: side(right, left, tile.columns), batch };
}

/** The indices of a side that one thread takes; past the end they repeat the last one, whose results are not stored. */
function indices(side: Side, tileIndex: Expr): { index: Expr; inside: Expr; env: Env }[] {
  return Array.from({ length: side.tile }, (_, i) => {
    const exact = add(mul(tileIndex, int(side.tile)), int(i));
    const index = min(exact, int(side.size - 1));
    return { index, inside: lt(exact, int(side.size)), env: unflatten(index, side.axes) };
  });
}

export function lowerContraction(k: Lowering, places: Placement): LoweredKernel {
  const group = k.fused.group!;
  const core = group.cores[0]!;
  const { rows, columns, batch } = sides(core, k);
  const [across, down] = [Math.ceil(columns.size / columns.tile), Math.ceil(rows.size / rows.tile)];
  const over = (core.attrs.over as string[]).map((n) => findAxis(core.operands[0]!.type, n)!);

  const shape = k.perThread(across * down * span(batch), (item) => {
    const out: Stmt[] = [];
    const bound = (prefix: string, value: Expr): Expr => {
      if (value.kind === "const") return value;
      const { target, stmt } = k.let(prefix, value);
      out.push(stmt);
      return target;
    };
    const batchEnv = unflatten(bound("z", div(item, int(across * down))), batch);
    const i = indices(rows, bound("m", mod(div(item, int(across)), int(down))));
    const j = indices(columns, bound("n", mod(item, int(across))));
    const acc = i.map(() => j.map(() => variable(k.names.fresh("c"), "f32")));
    for (const c of acc.flat()) out.push({ kind: "var", target: c, value: float(0) });
    const unroll = neighbours(k, over, rows, i[0]!.env, batchEnv) || neighbours(k, over, columns, j[0]!.env, batchEnv);
    const step = (env: Env) => product(k, rows, columns, i, j, acc, [batchEnv, env]);
    out.push(...loopOver(k, over, step, { unroll: unroll ? 4 : 1 }));
    i.forEach((row, x) => {
      j.forEach((column, y) => {
        const { target, stmt } = k.let("d", acc[x]![y]!);
        const env = new Map([...batchEnv, ...row.env, ...column.env]);
        const at = coordinatesOf(group.rows, env);
        k.values.bind(core, restrict(env, core), target);
        const stores = k.stores(k.fused.stores.map((store) => ({ store, env: envAt(store.value, places, at) })));
        const inside = and(row.inside, column.inside);
        out.push(
          stmt,
          ...(inside.kind === "const" ? stores : [{ kind: "if", condition: inside, body: stores } as Stmt]),
        );
      });
    });
    return out;
  });
  return k.finish("contraction", shape);
}

/** Whether an operand's elements along the innermost contracted axis are neighbours in memory. */
function neighbours(k: Lowering, over: readonly Axis[], side: Side, ...envs: readonly Env[]): boolean {
  const last = over.at(-1)!;
  const counter = indexVar(k.names.fresh("k"), Number(last.size));
  const along = [...over.slice(0, -1).map((a) => [a.name, int(0)] as const), [last.name, counter] as const];
  const all: Env = new Map([...envs.flatMap((e) => [...e]), ...along]);
  return advances(k.values.at(side.operand, restrict(all, side.operand)), counter);
}

/** One step of the sum: a column of the left tile times a row of the right. */
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
