/** Indices in linear form: multiples of atoms (expressions that are no sums or constant multiples) plus a constant. */
import { type Expr, type Range, rangeOf } from "./expr.ts";

export interface Term {
  readonly atom: Expr;
  readonly coefficient: number;
}

export interface Linear {
  readonly terms: readonly Term[];
  readonly constant: number;
}

export const scaled = (x: Linear, k: number): Linear => ({
  terms: k === 0 ? [] : x.terms.map((t) => ({ atom: t.atom, coefficient: t.coefficient * k })),
  constant: x.constant * k,
});

export function rangeOfLinear(x: Linear): Range {
  let [min, max] = [x.constant, x.constant];
  for (const { atom, coefficient } of x.terms) {
    const r = rangeOf(atom);
    min += coefficient * (coefficient > 0 ? r.min : r.max);
    max += coefficient * (coefficient > 0 ? r.max : r.min);
  }
  return { min, max };
}

/** The terms that are multiples of n, and the rest. */
export function splitBy(x: Linear, n: number): { whole: Linear; rest: Linear } {
  const whole = Math.floor(x.constant / n) * n;
  return {
    whole: { terms: x.terms.filter((t) => t.coefficient % n === 0), constant: whole },
    rest: { terms: x.terms.filter((t) => t.coefficient % n !== 0), constant: x.constant - whole },
  };
}

export const gcd = (a: number, b: number): number => (b === 0 ? Math.abs(a) : gcd(b, a % b));

/** The largest divisor of n that divides every coefficient; it need not divide the constant. */
export const commonFactor = (x: Linear, n: number) => x.terms.reduce((g, t) => gcd(g, t.coefficient), n);

export const divided = (x: Linear, n: number): Linear => ({
  terms: x.terms.map((t) => ({ atom: t.atom, coefficient: t.coefficient / n })),
  constant: Math.floor(x.constant / n),
});
