/** Loops over axes: flat where every address stays linear in one counter, nested where it would need divisions. */
import { dimExpr, indexOver, isMultipleOf, spanOf } from "../fusion/index.ts";
import { type Dim, divideDims } from "../ir/dim.ts";
import type { Axis } from "../ir/type.ts";
import { children, type Expr, expressions, int, type Stmt, type Var } from "../kernel/index.ts";
import { add, mentions, mul } from "../kernel/simplify.ts";
import { type Lowering, unflatten } from "./kernel.ts";

/** Steps of a loop shared by the threads of a workgroup: each begins at its own place. */
export interface Stride {
  readonly first: Expr;
  readonly step: number;
}

export interface LoopOptions {
  readonly shared?: Stride | undefined;
  /** Indices of one turn, where they divide those of the loop: neighbours in memory are then accessed together. */
  readonly unroll?: number;
}

type Indices = Map<string, Expr>;
type Body = (env: Indices) => Stmt[];

/**
 * Runs `body` for every index of the axes, in row-major order; the body is given the index of each axis by name.
 * It may be asked for more than once. A shared loop is always flat.
 */
export const loopOver = (k: Lowering, axes: readonly Axis[], body: Body, options: LoopOptions = {}): Stmt[] =>
  loopOverTurns(k, axes, (envs) => envs.flatMap(body), options);

/** The same for a body that is given the indices of one turn of the loop together. */
export function loopOverTurns(
  k: Lowering,
  axes: readonly Axis[],
  body: (turn: readonly Indices[]) => Stmt[],
  options: LoopOptions = {},
): Stmt[] {
  const { shared } = options;
  const most = shared ? 1 : (options.unroll ?? 1);
  const unrollOf = (size: Dim) => (isMultipleOf(size, most) ? most : 1);
  const flatBody = (turn: readonly Expr[]) => body(turn.map((index) => unflatten(index, axes)));
  const flat = loopOne(k, spanOf(axes), unrollOf(spanOf(axes)), flatBody, shared);
  if (shared || axes.length <= 1 || !divides([flat], (flat as { index: Var }).index)) return [flat];
  const outer = axes.slice(0, -1).map((a) => indexOver(k.names.fresh("k"), a.size));
  const last = axes.at(-1)!;
  const named = axes.slice(0, -1).map((a, i) => [a.name, outer[i]!] as const);
  const inner = loopOne(k, last.size, unrollOf(last.size), (turn) =>
    body(turn.map((index) => new Map([...named, [last.name, index]]))),
  );
  return outer.reduceRight<Stmt[]>(
    (stmts, index, i) => [{ kind: "for", index, from: int(0), to: dimExpr(axes[i]!.size), step: 1, body: stmts }],
    [inner],
  );
}

function loopOne(
  k: Lowering,
  total: Dim,
  unroll: number,
  body: (turn: readonly Expr[]) => Stmt[],
  shared?: Stride,
): Stmt {
  const turns = divideDims(total, unroll)!;
  const index = indexOver(k.names.fresh("k"), turns);
  const inner = body(Array.from({ length: unroll }, (_, u) => add(mul(index, int(unroll)), int(u))));
  const [from, step] = shared ? [shared.first, shared.step] : [int(0), 1];
  return { kind: "for", index, from, to: dimExpr(turns), step, body: inner };
}

/** Whether statements divide something that depends on a counter. */
function divides(body: readonly Stmt[], counter: Var): boolean {
  const seen = new Set<Expr>();
  const visit = (e: Expr): boolean => {
    if (seen.has(e)) return false;
    seen.add(e);
    if (e.kind === "arith" && e.dtype === "i32" && (e.op === "div" || e.op === "mod") && mentions(e, counter.name))
      return true;
    return children(e).some(visit);
  };
  return body.some(
    (s) => expressions(s).some(visit) || ((s.kind === "for" || s.kind === "if") && divides(s.body, counter)),
  );
}
