/**
 * Index arithmetic: builders of i32 expressions that simplify as they build.
 * Sums are kept in a linear normal form (constant times atom, equal atoms merged), and every expression has
 * bounds, so that (a·c + b) / c simplifies to a if 0 <= b < c is provable.
 */
import { type Arith, type ArithOp, type Expr, int, type Range, rangeOf, unbounded, type Var } from "./expr.ts";
import { keyOf, sameExpr } from "./expr-structure.ts";
import { threadBuiltins } from "./kernel.ts";
import { commonFactor, divided, gcd, type Linear, rangeOfLinear, scaled, splitBy, type Term } from "./linear-form.ts";

export const isConst = (e: Expr, value?: number) => e.kind === "const" && (value === undefined || e.value === value);

/** A counter or let whose bounds allow one value only; thread builtins are kept, for readability. */
const isSettled = (e: Expr): e is Var =>
  e.kind === "var" && e.range.min === e.range.max && !(threadBuiltins as readonly string[]).includes(e.name);

/** An index in linear form. */
export function linear(e: Expr): Linear {
  if (e.kind === "const") return { terms: [], constant: e.value };
  if (isSettled(e)) return { terms: [], constant: e.range.min };
  if (e.kind === "arith" && e.op === "add") return sum(linear(e.a), linear(e.b), 1);
  if (e.kind === "arith" && e.op === "sub") return sum(linear(e.a), linear(e.b), -1);
  if (e.kind === "arith" && e.op === "mul" && e.b.kind === "const") return scaled(linear(e.a), e.b.value);
  return { terms: [{ atom: e, coefficient: 1 }], constant: 0 };
}

function sum(x: Linear, y: Linear, sign: number): Linear {
  const terms = [...x.terms];
  for (const t of y.terms) {
    const at = terms.findIndex((other) => sameExpr(other.atom, t.atom)); // a few terms: faster than a map of keys
    const coefficient = (terms[at]?.coefficient ?? 0) + sign * t.coefficient;
    if (at < 0) terms.push({ atom: t.atom, coefficient });
    else if (coefficient === 0) terms.splice(at, 1);
    else terms[at] = { atom: t.atom, coefficient };
  }
  return rejoin({ terms, constant: x.constant + sign * y.constant });
}

/**
 * Rewrites c·n·(y / n) + c·(y mod n) to c·y, and c·n·(q mod m) + c·(y mod n) to c·(z mod n·m) if n·q + y mod n is z,
 * until nothing changes.
 */
function rejoin(x: Linear): Linear {
  for (const rest of x.terms) {
    const { atom, coefficient } = rest;
    if (atom.kind !== "arith" || atom.op !== "mod") continue;
    // For a symbolic n, the term is c times the product n·(y / n); for a constant n, it is c·n times y / n.
    const n = atom.b.kind === "const" ? atom.b.value : 1;
    const candidates = x.terms.filter((t) => t.coefficient === coefficient * n && t !== rest);
    if (candidates.length === 0) continue;
    const quotient = n === 1 ? mul(div(atom.a, atom.b), atom.b) : div(atom.a, atom.b);
    for (const whole of candidates) {
      const joined = sameExpr(whole.atom, quotient) ? atom.a : joinedRemainder(whole.atom, atom, n);
      if (!joined) continue;
      const others: Linear = { terms: x.terms.filter((t) => t !== rest && t !== whole), constant: x.constant };
      return sum(others, scaled(linear(joined), coefficient), 1);
    }
  }
  return x;
}

/** n·(q mod m) + y mod n as a remainder modulo n·m, if n·q + y mod n can be merged. */
function joinedRemainder(atom: Expr, rest: Expr, n: number): Expr | undefined {
  if (atom.kind !== "arith" || atom.op !== "mod" || atom.b.kind !== "const" || n === 1) return undefined;
  const whole = sum(scaled(linear(atom.a), n), { terms: [{ atom: rest, coefficient: 1 }], constant: 0 }, 1);
  return whole.terms.some((t) => sameExpr(t.atom, rest)) ? undefined : mod(build(whole), int(n * atom.b.value));
}

const raw = (op: ArithOp, a: Expr, b: Expr, range: Range): Arith => ({ kind: "arith", dtype: "i32", op, a, b, range });

function multiple({ atom, coefficient }: Term): Expr {
  if (coefficient === 1) return atom;
  return raw("mul", atom, int(coefficient), rangeOfLinear({ terms: [{ atom, coefficient }], constant: 0 }));
}

/** The expression of a linear form; positive terms first, otherwise in order of appearance. */
export function build(x: Linear): Expr {
  const ordered = [...x.terms.filter((t) => t.coefficient > 0), ...x.terms.filter((t) => t.coefficient < 0)];
  let result: Expr | undefined;
  let seen: Linear = { terms: [], constant: 0 };
  for (const t of ordered) {
    seen = { terms: [...seen.terms, t], constant: 0 };
    if (!result) result = multiple(t);
    else if (t.coefficient > 0) result = raw("add", result, multiple(t), rangeOfLinear(seen));
    else result = raw("sub", result, multiple({ atom: t.atom, coefficient: -t.coefficient }), rangeOfLinear(seen));
  }
  if (!result) return int(x.constant);
  if (x.constant === 0) return result;
  const op = x.constant > 0 ? "add" : "sub";
  return raw(op, result, int(Math.abs(x.constant)), rangeOfLinear(x));
}

export const add = (a: Expr, b: Expr): Expr => build(sum(linear(a), linear(b), 1));
export const sub = (a: Expr, b: Expr): Expr => build(sum(linear(a), linear(b), -1));

export function mul(a: Expr, b: Expr): Expr {
  if (b.kind === "const") return build(scaled(linear(a), b.value));
  if (a.kind === "const") return build(scaled(linear(b), a.value));
  const [p, q] = [inLowestTerms(a), inLowestTerms(b)];
  const [first, second] = keyOf(p.rest) <= keyOf(q.rest) ? [p.rest, q.rest] : [q.rest, p.rest];
  const product = raw("mul", first, second, corners(rangeOf(first), rangeOf(second)));
  return multiple({ atom: product, coefficient: p.factor * q.factor });
}

/** Factors the constant out of an expression, so that constant factors of products are visible to the linear form. */
function inLowestTerms(e: Expr): { factor: number; rest: Expr } {
  const x = linear(e);
  const factor = x.terms.reduce((g, t) => gcd(g, t.coefficient), Math.abs(x.constant));
  return factor <= 1 ? { factor: 1, rest: e } : { factor, rest: build(divided(x, factor)) };
}

/** Bounds of a product. */
function corners(p: Range, q: Range): Range {
  const products = [p.min * q.min, p.min * q.max, p.max * q.min, p.max * q.max].map((v) => (Number.isNaN(v) ? 0 : v));
  return { min: Math.min(...products), max: Math.max(...products) };
}

/** The factors of a product; at most one is a constant. */
const factorsOf = (e: Expr): Expr[] =>
  e.kind === "arith" && e.op === "mul" ? [...factorsOf(e.a), ...factorsOf(e.b)] : [e];

/** The product e divided by all factors in `divisor`; undefined if e lacks one. */
function withoutFactors(e: Expr, divisor: readonly Expr[]): Expr | undefined {
  const rest = factorsOf(e);
  for (const factor of divisor) {
    const at = rest.findIndex((f) => sameExpr(f, factor));
    if (at < 0) return undefined;
    rest.splice(at, 1);
  }
  return rest.reduce<Expr>(mul, int(1));
}

/**
 * Splits a into q·n + r for a symbolic n, where 0 <= r < n holds for every n because r is 0 or a remainder modulo n.
 * Undefined if a is no such sum.
 */
function splitByOpen(a: Expr, n: Expr): { quotient: Expr; rest: Expr } | undefined {
  const divisor = factorsOf(n);
  const x = linear(a);
  let [quotient, rest]: [Linear, Linear] = [
    { terms: [], constant: 0 },
    { terms: [], constant: x.constant },
  ];
  for (const t of x.terms) {
    const whole = withoutFactors(t.atom, divisor);
    if (whole) quotient = sum(quotient, scaled(linear(whole), t.coefficient), 1);
    else rest = { ...rest, terms: [...rest.terms, t] };
  }
  const [left, ...more] = rest.terms;
  if (rest.constant !== 0 || more.length > 0) return undefined;
  if (left && !(left.coefficient === 1 && isRemainder(left.atom, n))) return undefined;
  const whole = build(quotient);
  return rangeOf(whole).min >= 0 ? { quotient: whole, rest: build(rest) } : undefined;
}

const isRemainder = (e: Expr, n: Expr): boolean =>
  e.kind === "arith" && e.op === "mod" && sameExpr(e.b, n) && rangeOf(e.a).min >= 0;

/** a / b for values >= 0. */
export function div(a: Expr, b: Expr): Expr {
  const r = rangeOf(a);
  if (b.kind !== "const" || b.value <= 0 || r.min < 0) {
    if (isConst(b, 1)) return a;
    if (b.kind !== "const" && r.min >= 0 && rangeOf(b).min > 0) {
      if (r.max < rangeOf(b).min) return int(0);
      const split = splitByOpen(a, b);
      if (split) return split.quotient;
    }
    const bounds = r.min >= 0 && rangeOf(b).min >= 0 ? { min: 0, max: r.max } : { min: -Infinity, max: Infinity };
    return raw("div", a, b, bounds);
  }
  const n = b.value;
  if (n === 1) return a;
  if (r.max < n) return int(0);
  const { whole, rest } = splitBy(linear(a), n);
  const left = rangeOfLinear(rest);
  if (left.min < 0) return raw("div", a, b, { min: Math.floor(r.min / n), max: Math.floor(r.max / n) });
  const quotient = divided(whole, n);
  const tail = left.max < n ? int(0) : divAtom(rest, n);
  return build(sum(quotient, linear(tail), 1));
}

/**
 * Splits x into g·q + r where g divides n and 0 <= r < g, for example the start of a slab of channels and the channel
 * in it, so that division by n depends on q only. Undefined if there is no such factor.
 */
function splitByFactor(x: Linear, n: number): { factor: number; high: Expr; low: Expr } | undefined {
  const factors = new Set(x.terms.map((t) => gcd(t.coefficient, n)));
  for (const g of [...factors].filter((f) => f > 1 && f < n).sort((a, b) => b - a)) {
    const { whole, rest } = splitBy(x, g);
    const { min, max } = rangeOfLinear(rest);
    if (min >= 0 && max < g) return { factor: g, high: build(divided(whole, g)), low: build(rest) };
  }
  return undefined;
}

function divAtom(x: Linear, n: number): Expr {
  const g = commonFactor(x, n);
  if (g > 1) return div(build(divided(x, g)), int(n / g));
  const parts = splitByFactor(x, n);
  if (parts) return div(parts.high, int(n / parts.factor));
  const a = build(x);
  if (a.kind === "arith" && a.op === "div" && a.b.kind === "const") return div(a.a, int(a.b.value * n));
  if (a.kind === "arith" && a.op === "mod" && a.b.kind === "const" && a.b.value % n === 0) {
    return mod(div(a.a, int(n)), int(a.b.value / n));
  }
  const r = rangeOfLinear(x);
  return raw("div", a, int(n), { min: Math.floor(r.min / n), max: Math.floor(r.max / n) });
}

/** a mod b for values >= 0. */
export function mod(a: Expr, b: Expr): Expr {
  const r = rangeOf(a);
  if (b.kind !== "const" || b.value <= 0 || r.min < 0) {
    if (isConst(b, 1)) return int(0);
    const bounded = r.min >= 0 && rangeOf(b).min > 0;
    if (b.kind !== "const" && bounded) {
      if (r.max < rangeOf(b).min) return a;
      const split = splitByOpen(a, b);
      if (split) return split.rest;
    }
    return raw(
      "mod",
      a,
      b,
      bounded ? { min: 0, max: Math.min(r.max, rangeOf(b).max - 1) } : { min: -Infinity, max: Infinity },
    );
  }
  const n = b.value;
  if (n === 1) return int(0);
  if (r.max < n) return a;
  const { rest } = splitBy(linear(a), n);
  const left = rangeOfLinear(rest);
  if (left.min < 0) return raw("mod", a, b, { min: 0, max: n - 1 });
  return left.max < n ? build(rest) : modAtom(rest, n);
}

function modAtom(x: Linear, n: number): Expr {
  const g = commonFactor(x, n);
  if (g > 1) {
    const inner = mul(mod(build(divided(x, g)), int(n / g)), int(g));
    return add(inner, int(x.constant % g));
  }
  const parts = splitByFactor(x, n);
  if (parts) return add(mul(mod(parts.high, int(n / parts.factor)), int(parts.factor)), parts.low);
  const a = build(x);
  if (a.kind === "arith" && a.op === "mod" && a.b.kind === "const" && a.b.value % n === 0) return mod(a.a, int(n));
  return raw("mod", a, int(n), { min: 0, max: Math.min(n - 1, rangeOfLinear(x).max) });
}

export function min(a: Expr, b: Expr): Expr {
  const [p, q] = [rangeOf(a), rangeOf(b)];
  if (p.max <= q.min) return a;
  if (q.max <= p.min) return b;
  return raw("min", a, b, { min: Math.min(p.min, q.min), max: Math.min(p.max, q.max) });
}

export function max(a: Expr, b: Expr): Expr {
  const [p, q] = [rangeOf(a), rangeOf(b)];
  if (p.min >= q.max) return a;
  if (q.min >= p.max) return b;
  return raw("max", a, b, { min: Math.max(p.min, q.min), max: Math.max(p.max, q.max) });
}

/** Clamps an index to 0 .. size - 1, so that loads stay in bounds. */
export const clampIndex = (e: Expr, size: Expr): Expr => max(min(e, sub(size, int(1))), int(0));

/** Bounds of an operation, from the bounds of its operands. */
function boundsOf(op: ArithOp, a: Expr, b: Expr): Range {
  const [p, q] = [rangeOf(a), rangeOf(b)];
  const n = b.kind === "const" && b.value > 0 ? b.value : undefined;
  switch (op) {
    case "add":
    case "sub":
      return rangeOfLinear(sum(linear(a), linear(b), op === "add" ? 1 : -1));
    case "mul":
      return b.kind === "const" ? rangeOfLinear(scaled(linear(a), b.value)) : corners(p, q);
    case "div":
      if (n) return { min: Math.floor(p.min / n), max: Math.floor(p.max / n) };
      return p.min >= 0 && q.min >= 0 ? { min: 0, max: p.max } : unbounded;
    case "mod":
      if (n && p.min >= 0) return { min: 0, max: Math.min(n - 1, p.max) };
      return p.min >= 0 && q.min > 0 ? { min: 0, max: Math.min(p.max, q.max - 1) } : unbounded;
    case "min":
      return { min: Math.min(p.min, q.min), max: Math.min(p.max, q.max) };
    case "max":
      return { min: Math.max(p.min, q.min), max: Math.max(p.max, q.max) };
  }
}

/** An i32 operation with bounds, without simplification. */
export const asWritten = (op: ArithOp, a: Expr, b: Expr): Arith => raw(op, a, b, boundsOf(op, a, b));
