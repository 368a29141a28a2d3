/**
 * Index algebra: builders of i32 expressions that simplify as they build.
 * Sums are kept in linear normal form (constant times atom, like atoms merged), and every expression knows its
 * bounds, so that (a·c + b) / c is a wherever 0 <= b < c is provable.
 */
import {
  type Arith,
  type ArithOp,
  bool,
  type Compare,
  type CompareOp,
  children,
  type Expr,
  int,
  keyOf,
  type Range,
  rangeOf,
  unbounded,
  type Var,
  withChildren,
} from "./expr.ts";
import { threadBuiltins } from "./kernel.ts";

interface Term {
  readonly atom: Expr;
  readonly coefficient: number;
}

interface Linear {
  readonly terms: readonly Term[];
  readonly constant: number;
}

const isConst = (e: Expr, value?: number) => e.kind === "const" && (value === undefined || e.value === value);

/** A counter or a let that has one value; those of the dispatch stay, so that a kernel says whose thread does what. */
const isSettled = (e: Expr): e is Var =>
  e.kind === "var" && e.range.min === e.range.max && !(threadBuiltins as readonly string[]).includes(e.name);

/** A sum as coefficients of atoms (expressions that are no sum and no constant multiple) and a constant. */
function linear(e: Expr): Linear {
  if (e.kind === "const") return { terms: [], constant: e.value };
  if (isSettled(e)) return { terms: [], constant: e.range.min };
  if (e.kind === "arith" && e.op === "add") return sum(linear(e.a), linear(e.b), 1);
  if (e.kind === "arith" && e.op === "sub") return sum(linear(e.a), linear(e.b), -1);
  if (e.kind === "arith" && e.op === "mul" && e.b.kind === "const") return scaled(linear(e.a), e.b.value);
  return { terms: [{ atom: e, coefficient: 1 }], constant: 0 };
}

const scaled = (x: Linear, k: number): Linear => ({
  terms: k === 0 ? [] : x.terms.map((t) => ({ atom: t.atom, coefficient: t.coefficient * k })),
  constant: x.constant * k,
});

function sum(x: Linear, y: Linear, sign: number): Linear {
  const terms = new Map<string, Term>(x.terms.map((t) => [keyOf(t.atom), t]));
  for (const t of y.terms) {
    const key = keyOf(t.atom);
    const coefficient = (terms.get(key)?.coefficient ?? 0) + sign * t.coefficient;
    if (coefficient === 0) terms.delete(key);
    else terms.set(key, { atom: t.atom, coefficient });
  }
  return rejoin({ terms: [...terms.values()], constant: x.constant + sign * y.constant });
}

/** c·n·(y / n) + c·(y mod n) becomes c·y, and c·n·(q mod m) + c·(y mod n) becomes c·(z mod n·m) where n·q + y mod n is z, until nothing changes. */
function rejoin(x: Linear): Linear {
  for (const rest of x.terms) {
    const { atom, coefficient } = rest;
    if (atom.kind !== "arith" || atom.op !== "mod") continue;
    // Of an open n, c·(n·(y / n)) is a multiple of a product; of a known one, c·n is the multiple.
    const n = atom.b.kind === "const" ? atom.b.value : 1;
    const quotient = keyOf(n === 1 ? mul(div(atom.a, atom.b), atom.b) : div(atom.a, atom.b));
    for (const whole of x.terms) {
      if (whole.coefficient !== coefficient * n || whole === rest) continue;
      const joined = keyOf(whole.atom) === quotient ? atom.a : joinedRemainder(whole.atom, atom, n);
      if (!joined) continue;
      const others: Linear = { terms: x.terms.filter((t) => t !== rest && t !== whole), constant: x.constant };
      return sum(others, scaled(linear(joined), coefficient), 1);
    }
  }
  return x;
}

/** n·(q mod m) + y mod n as a remainder by n·m, where n·q and y mod n join. */
function joinedRemainder(atom: Expr, rest: Expr, n: number): Expr | undefined {
  if (atom.kind !== "arith" || atom.op !== "mod" || atom.b.kind !== "const" || n === 1) return undefined;
  const whole = sum(scaled(linear(atom.a), n), { terms: [{ atom: rest, coefficient: 1 }], constant: 0 }, 1);
  const key = keyOf(rest);
  return whole.terms.some((t) => keyOf(t.atom) === key) ? undefined : mod(build(whole), int(n * atom.b.value));
}

function rangeOfLinear(x: Linear): Range {
  let [min, max] = [x.constant, x.constant];
  for (const { atom, coefficient } of x.terms) {
    const r = rangeOf(atom);
    min += coefficient * (coefficient > 0 ? r.min : r.max);
    max += coefficient * (coefficient > 0 ? r.max : r.min);
  }
  return { min, max };
}

const raw = (op: ArithOp, a: Expr, b: Expr, range: Range): Arith => ({ kind: "arith", dtype: "i32", op, a, b, range });

function multiple({ atom, coefficient }: Term): Expr {
  if (coefficient === 1) return atom;
  return raw("mul", atom, int(coefficient), rangeOfLinear({ terms: [{ atom, coefficient }], constant: 0 }));
}

/** The expression of a linear form, terms in the order in which they appeared, positive ones first. */
function build(x: Linear): Expr {
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

/** An expression as a number times another: the number of a product is seen from outside it, as that of a sum's term is. */
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

/** Terms that n divides, and the rest. */
function splitBy(x: Linear, n: number): { whole: Linear; rest: Linear } {
  const whole = Math.floor(x.constant / n) * n;
  return {
    whole: { terms: x.terms.filter((t) => t.coefficient % n === 0), constant: whole },
    rest: { terms: x.terms.filter((t) => t.coefficient % n !== 0), constant: x.constant - whole },
  };
}

const gcd = (a: number, b: number): number => (b === 0 ? Math.abs(a) : gcd(b, a % b));

/** The largest divisor of n that divides every coefficient; the constant may leave a remainder below it. */
const commonFactor = (x: Linear, n: number) => x.terms.reduce((g, t) => gcd(g, t.coefficient), n);

const divided = (x: Linear, n: number): Linear => ({
  terms: x.terms.map((t) => ({ atom: t.atom, coefficient: t.coefficient / n })),
  constant: Math.floor(x.constant / n),
});

/** The factors of a product, of which at most one is a number. */
const factorsOf = (e: Expr): Expr[] =>
  e.kind === "arith" && e.op === "mul" ? [...factorsOf(e.a), ...factorsOf(e.b)] : [e];

/** The product e divided by all of `divisor`; undefined where a factor is missing. */
function withoutFactors(e: Expr, divisor: readonly Expr[]): Expr | undefined {
  const rest = factorsOf(e);
  for (const factor of divisor) {
    const at = rest.findIndex((f) => keyOf(f) === keyOf(factor));
    if (at < 0) return undefined;
    rest.splice(at, 1);
  }
  return rest.reduce<Expr>(mul, int(1));
}

/**
 * q·n + r for an open n, where 0 <= r < n is known whatever n is: r is 0, or a remainder by n. Undefined where a is no
 * such sum.
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
  e.kind === "arith" && e.op === "mod" && keyOf(e.b) === keyOf(n) && rangeOf(e.a).min >= 0;

/** a / b for values of 0 and above. */
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
 * g·q + r where g divides n and 0 <= r < g: what a slab of channels begins at, and the channel in it. Division by n then
 * sees q alone. Undefined where there is no such factor.
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

/** a mod b for values of 0 and above. */
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

/** The value held within 0 .. size - 1, so that a load it addresses stays inside. */
export const clampIndex = (e: Expr, size: Expr): Expr => max(min(e, sub(size, int(1))), int(0));

const compare = (op: CompareOp, a: Expr, b: Expr): Compare => ({ kind: "compare", dtype: "bool", op, a, b });

export function lt(a: Expr, b: Expr): Expr {
  const d = rangeOf(sub(a, b));
  if (d.max < 0) return bool(true);
  return d.min >= 0 ? bool(false) : compare("lt", a, b);
}

export const le = (a: Expr, b: Expr): Expr => {
  const d = rangeOf(sub(a, b));
  if (d.max <= 0) return bool(true);
  return d.min > 0 ? bool(false) : compare("le", a, b);
};

export function eq(a: Expr, b: Expr): Expr {
  const d = rangeOf(sub(a, b));
  if (d.min === 0 && d.max === 0) return bool(true);
  return d.max < 0 || d.min > 0 ? bool(false) : compare("eq", a, b);
}

export function and(a: Expr, b: Expr): Expr {
  if (isConst(a, 0) || isConst(b, 1)) return a;
  if (isConst(b, 0) || isConst(a, 1)) return b;
  return { kind: "logic", dtype: "bool", op: "and", a, b };
}

export function select(condition: Expr, yes: Expr, no: Expr): Expr {
  if (condition.kind === "const") return condition.value ? yes : no;
  // One value outside of both: one question whether it is inside.
  if (yes.kind === "select" && no.kind === "const" && keyOf(yes.no) === keyOf(no))
    return select(and(condition, yes.condition), yes.yes, no);
  return { kind: "select", dtype: yes.dtype, condition, yes, no };
}

/** Bounds of the operation as written, where its operands are within theirs. */
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

/** An i32 operation that is not simplified, with its bounds. */
export const asWritten = (op: ArithOp, a: Expr, b: Expr): Arith => raw(op, a, b, boundsOf(op, a, b));

const indexBuilders = { add, sub, mul, div, mod, min, max } as const;

/** Puts expressions in place of variables and simplifies what changes. */
export function substitute(e: Expr, values: ReadonlyMap<string, Expr>): Expr {
  if (e.kind === "var") return values.get(e.name) ?? e;
  const before = children(e);
  if (before.length === 0) return e;
  const after = before.map((c) => substitute(c, values));
  if (after.every((c, i) => c === before[i])) return e;
  if (e.kind === "arith" && e.dtype === "i32") return indexBuilders[e.op](after[0]!, after[1]!);
  return withChildren(e, after);
}

/** An index as a multiple of n and a constant below n; undefined when it is no such sum. */
export function laneOf(e: Expr, n: number): { base: Expr; lane: number } | undefined {
  const x = linear(e);
  if (x.terms.some((t) => t.coefficient % n !== 0)) return undefined;
  const lane = ((x.constant % n) + n) % n;
  return { base: build({ terms: x.terms, constant: x.constant - lane }), lane };
}

/** The factor by which an index grows with a variable; undefined when it is not linear in it. */
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
