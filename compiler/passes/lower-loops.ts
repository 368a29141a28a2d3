/** Loops over axes: flat where every address stays linear in one counter, nested where it would need divisions. */
import type { Axis } from "../ir/type.ts";
import { children, type Expr, indexVar, int, type Var } from "../kernel/expr.ts";
import { expressions, type Stmt } from "../kernel/kernel.ts";
import { mentions } from "../kernel/simplify.ts";
import type { Lowering } from "./lower-kernel.ts";
import { unflatten } from "./lower-kernel.ts";
import { span } from "./lower-values.ts";

/** Steps of a loop shared by the threads of a workgroup: each begins at its own place. */
export interface Stride {
  readonly first: Expr;
  readonly step: number;
}

/**
 * Runs `body` for every index of the axes, in row-major order; the body is given the index of each axis by name.
 * It may be asked for more than once. A shared loop is always flat.
 */
export function loopOver(
  k: Lowering,
  axes: readonly Axis[],
  body: (env: Map<string, Expr>) => Stmt[],
  shared?: Stride,
): Stmt[] {
  const total = span(axes);
  const flat = indexVar(k.names.fresh("k"), total);
  const inner = body(unflatten(flat, axes));
  if (shared) return [{ kind: "for", index: flat, from: shared.first, to: int(total), step: shared.step, body: inner }];
  if (axes.length <= 1 || !divides(inner, flat)) {
    return [{ kind: "for", index: flat, from: int(0), to: int(total), step: 1, body: inner }];
  }
  const vars = axes.map((a) => indexVar(k.names.fresh("k"), Number(a.size)));
  const nested = body(new Map(axes.map((a, i) => [a.name, vars[i]!])));
  return vars.reduceRight<Stmt[]>(
    (stmts, index, i) => [{ kind: "for", index, from: int(0), to: int(Number(axes[i]!.size)), step: 1, body: stmts }],
    nested,
  );
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
