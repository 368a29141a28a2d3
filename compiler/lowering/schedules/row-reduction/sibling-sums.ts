/** Horizontal fusion of row sums with another kernel: extra workgroups, of its size, in the same dispatch. */
import { dimExpr, isMultipleOf } from "../../../fusion/index.ts";
import {
  type ArrayDecl,
  children,
  type Expr,
  int,
  mapExpressions,
  rangeOf,
  type Stmt,
  type Var,
  variable,
  withChildren,
} from "../../../kernel/index.ts";
import { add, asWritten, div, mul } from "../../../kernel/simplify.ts";
import type { KernelCode, Lowering } from "../../kernel.ts";
import { type Columns, columns, lowerColumns } from "./columns.ts";
import { isContiguousAlong, type RowProblem, rowProblem } from "./problem.ts";
import { lowerRows } from "./row-lowering.ts";
import { rowPerThread } from "./row-per-thread.ts";

/** A kernel's code with that of sums added; the workgroups of the sums come first, since they take longest. */
export const withSiblingSums = (code: KernelCode, sums: readonly Lowering[]): KernelCode => sums.reduce(withSum, code);

function withSum(main: KernelCode, k: Lowering): KernelCode {
  const threads = main.workgroup.reduce((n, size) => n * size, 1);
  const used = main.arrays?.reduce((n, a) => n + bytesOf(a), 0) ?? 0;
  const sum = sumCode(k, threads, k.facts.maxWorkgroupStorage - used);
  const [x, y, z] = main.grid;
  const count = mul(sum.grid[0], sum.grid[1]);
  const flat = y.kind === "const" && y.value === 1 && z.kind === "const" && z.value === 1;
  const fits = rangeOf(x).max + rangeOf(count).max <= k.facts.maxWorkgroupsPerDimension;
  // Extra workgroups in front of a one-dimensional grid; otherwise whole z layers in front of the grid.
  const [axis, before] = flat && fits ? (["wid_x", count] as const) : (["wid_z", layers(count, mul(x, y))] as const);
  const at = variable(axis, "i32", { min: 0, max: rangeOf(add(axis === "wid_x" ? x : z, before)).max - 1 });
  const own = axis === "wid_x" ? at : add(mul(add(mul(at, y), builtin("wid_y", y)), x), builtin("wid_x", x));
  return {
    ...main,
    grid: axis === "wid_x" ? [add(x, before), y, z] : [x, y, add(z, before)],
    arrays: [...(main.arrays ?? []), ...(sum.arrays ?? [])],
    body: [
      { kind: "if", condition: compare("lt", at, before), body: inPlaceOf(k, sum, own, count) },
      { kind: "if", condition: compare("le", before, at), body: shifted(k, main.body, at, before) },
    ],
  };
}

const bytesOf = ({ dtype, length, space }: ArrayDecl): number =>
  space === "workgroup" ? length * (dtype === "f16" ? 2 : 4) : 0;

const layers = (count: Expr, each: Expr): Expr => div(add(count, asWritten("sub", each, int(1))), each);

const builtin = (name: string, count: Expr): Var => variable(name, "i32", { min: 0, max: rangeOf(count).max - 1 });

const compare = (op: "lt" | "le", a: Expr, b: Expr): Expr => ({ kind: "compare", dtype: "bool", op, a, b });

/** The code of a sum for workgroups with a given thread count and `bytes` of workgroup memory to spare. */
function sumCode(k: Lowering, threads: number, bytes: number): KernelCode {
  const problem = rowProblem(k);
  const facts = { ...k.facts, maxWorkgroupStorage: bytes };
  if (facts.software) return neighboursPerThread(problem, threads) ?? rowPerThread.lower(problem, { threads });
  // A tree reduction needs a power-of-two number of threads.
  const shared = (threads & (threads - 1)) !== 0 ? [] : [8, 16, 32, 64].filter((n) => n <= threads);
  const settings = shared
    .flatMap((threadsAcross) => [8, 4, 1].map((elements): Columns => ({ threads, threadsAcross, elements })))
    .filter((s) => columns.fits(problem, s, facts) === true)
    .sort((a, b) => columns.cost(problem, a, facts) - columns.cost(problem, b, facts));
  return settings[0] ? lowerColumns(problem, settings[0]) : rowPerThread.lower(problem, { threads });
}

/** Four neighbouring rows per thread, if they load as one vec4: then the main kernel can load vec4 as well. */
function neighboursPerThread({ k, rows }: RowProblem, threads: number): KernelCode | undefined {
  if (!isMultipleOf(rows, 4) || !isContiguousAlong(k, k.fused.group!.rows)) return undefined;
  return k.perThread(div(dimExpr(rows), int(4)), threads, (piece) =>
    lowerRows(
      k,
      [0, 1, 2, 3].map((u) => ({ row: add(mul(piece, int(4)), int(u)) })),
    ),
  );
}

/** The body of a kernel of `count` workgroups, run by the workgroup `index` and guarded by a bounds check. */
function inPlaceOf(k: Lowering, { body, grid }: KernelCode, index: Expr, count: Expr): Stmt[] {
  const target = variable(k.names.fresh("w"), "i32", { min: 0, max: rangeOf(count).max - 1 });
  const [width, height] = grid;
  const folded = height.kind !== "const" || height.value > 1;
  const names = new Map<string, Expr>(
    folded
      ? [
          ["wid_x", asWritten("mod", target, width)],
          ["wid_y", div(target, width)],
        ]
      : [["wid_x", target]],
  );
  return [
    { kind: "let", target, value: index },
    { kind: "if", condition: compare("lt", target, count), body: renamed(body, names) },
  ];
}

/** The body of a kernel whose workgroups are offset by `before` along one grid dimension. */
function shifted(k: Lowering, body: readonly Stmt[], at: Var, before: Expr): Stmt[] {
  const max = Math.max(0, rangeOf(at).max - rangeOf(before).min);
  const target = variable(k.names.fresh("w"), "i32", { min: 0, max });
  const value = asWritten("sub", at, before);
  return [{ kind: "let", target, value }, ...renamed(body, new Map([[at.name, target]]))];
}

/** Statements with variables (builtins) replaced by expressions. */
function renamed(body: readonly Stmt[], names: ReadonlyMap<string, Expr>): Stmt[] {
  const memo = new Map<Expr, Expr>();
  const visit = (e: Expr): Expr => {
    const known = memo.get(e);
    if (known) return known;
    const before = children(e);
    const after = before.map(visit);
    const result =
      e.kind === "var" ? (names.get(e.name) ?? e) : after.every((c, i) => c === before[i]) ? e : withChildren(e, after);
    memo.set(e, result);
    return result;
  };
  const walk = (stmts: readonly Stmt[]): Stmt[] =>
    stmts.map((s) => {
      const mapped = mapExpressions(s, visit);
      return mapped.kind === "for" || mapped.kind === "if" ? { ...mapped, body: walk(mapped.body) } : mapped;
    });
  return walk(body);
}
