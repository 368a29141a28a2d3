/** Analysis of index expressions: variables, strides, and lanes in a vector. */
import type { Expr } from "./expr.ts";
import { children, withChildren } from "./expr-structure.ts";
import { add, build, div, linear, max, min, mod, mul, sub } from "./index-arithmetic.ts";

const indexBuilders = { add, sub, mul, div, mod, min, max } as const;

/** Substitutes expressions for variables and simplifies what changes. */
export function substitute(e: Expr, values: ReadonlyMap<string, Expr>): Expr {
  if (e.kind === "var") return values.get(e.name) ?? e;
  const before = children(e);
  if (before.length === 0) return e;
  const after = before.map((c) => substitute(c, values));
  if (after.every((c, i) => c === before[i])) return e;
  if (e.kind === "arith" && e.dtype === "i32") return indexBuilders[e.op](after[0]!, after[1]!);
  return withChildren(e, after);
}

/** Splits an index into a multiple of n (base) and a constant below n (lane); undefined if that is not possible. */
export function laneOf(e: Expr, n: number): { base: Expr; lane: number } | undefined {
  const x = linear(e);
  if (x.terms.some((t) => t.coefficient % n !== 0)) return undefined;
  const lane = ((x.constant % n) + n) % n;
  return { base: build({ terms: x.terms, constant: x.constant - lane }), lane };
}

/** The stride of an index in a variable; undefined if the index is not linear in it. */
export function strideOf(e: Expr, v: string): number | undefined {
  let stride = 0;
  for (const t of linear(e).terms) {
    if (t.atom.kind === "var" && t.atom.name === v) stride += t.coefficient;
    else if (mentions(t.atom, v)) return undefined;
  }
  return stride;
}

/** Whether an expression reads the variable. */
export const mentions = (e: Expr, v: string): boolean =>
  e.kind === "var" ? e.name === v : children(e).some((c) => mentions(c, v));
