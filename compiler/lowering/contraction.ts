import type { Env } from "../fusion/access.ts";
import { restrict, span } from "../fusion/access.ts";
import type { Placement } from "../fusion/groups.ts";
import { type Expr, float, floatArith, int, type Var, variable } from "../kernel/expr.ts";
import type { Stmt } from "../kernel/kernel.ts";
import { add, and, div, lt, min, mod, mul } from "../kernel/simplify.ts";
import { lowerShared, sharedTileFor } from "./contraction-shared.ts";
import { contractedAxes, neighbours, type Side, type Sides, sidesOf, storesOf } from "./contraction-sides.ts";
import { lowerSkinny, skinnySides } from "./contraction-skinny.ts";
import { type LoweredKernel, type Lowering, unflatten } from "./kernel.ts";
import { loopOver } from "./loops.ts";

/** The indices of a side that one thread takes; past the end they repeat the last one, whose results are not stored. */
function indices(side: Side, tileIndex: Expr): { index: Expr; inside: Expr; env: Env }[] {
  return Array.from({ length: side.tile }, (_, i) => {
    const exact = add(mul(tileIndex, int(side.tile)), int(i));
    const index = min(exact, int(side.size - 1));
    return { index, inside: lt(exact, int(side.size)), env: unflatten(index, side.axes) };
  });
}

export function lowerContraction(k: Lowering, places: Placement): LoweredKernel {
  const core = k.fused.group!.cores[0]!;
  const sides = sidesOf(core, k);
  return k.finish("contraction", shapeOf(k, places, sides, span(contractedAxes(core))));
}

/** Few rows share each row of the long side; many share slabs of both; on software adapters nothing is shared. */
function shapeOf(k: Lowering, places: Placement, sides: Sides, depth: number) {
  const skinny = skinnySides(k, sides, depth);
  if (skinny) return lowerSkinny(k, places, skinny);
  const tile = sharedTileFor(k, sides, depth);
  return tile ? lowerShared(k, places, tile, sides) : lowerInRegisters(k, places, sides);
}

/** Every thread by itself. */
function lowerInRegisters(k: Lowering, places: Placement, { rows, columns, batch }: Sides) {
  const [across, down] = [Math.ceil(columns.size / columns.tile), Math.ceil(rows.size / rows.tile)];
  const over = contractedAxes(k.fused.group!.cores[0]!);
  return k.perThread(across * down * span(batch), (item) => {
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
        const body = storesOf(k, places, new Map([...batchEnv, ...row.env, ...column.env]), acc[x]![y]!);
        const inside = and(row.inside, column.inside);
        out.push(...(inside.kind === "const" ? body : [{ kind: "if", condition: inside, body } as Stmt]));
      });
    });
    return out;
  });
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
