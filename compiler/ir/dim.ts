/**
 * Axis sizes: a number, or a polynomial over named symbols such as "past+tokens" or "2*batch*tokens+1".
 * A symbolic size is a string in one canonical spelling, so equal sizes are identical strings.
 */
import { UsageError } from "../diagnostics/error.ts";

export type Dim = number | string;
export type Sizes = Readonly<Record<string, number>>;

/** Monomial ("batch*tokens", "" for the constant term) to integer coefficient. */
type Polynomial = ReadonlyMap<string, number>;

const parsed = new Map<string, Polynomial>();

/** A size given by the symbol `name`, bound to a number when a session or a graph is specialized. */
export function symbol(name: string): Dim {
  if (!/^[a-zA-Z_]\w*$/.test(name)) throw new UsageError(`"${name}" cannot name a size: use letters, digits and _`);
  return name;
}

export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  return canonical(sum(poly(a), poly(b)));
}

export function mulDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a * b + 0; // never -0
  return canonical(product(poly(a), poly(b)));
}

export const subDims = (a: Dim, b: Dim): Dim => addDims(a, mulDims(-1, b));
export const productOfDims = (dims: readonly Dim[]): Dim => dims.reduce<Dim>(mulDims, 1);

/** a / b when the division is exact for every value of the symbols, else undefined. */
export function divideDims(a: Dim, b: Dim): Dim | undefined {
  if (typeof a === "number" && typeof b === "number") return b !== 0 && a % b === 0 ? a / b : undefined;
  if (a === b) return 1;
  const divisor = [...poly(b)];
  if (divisor.length !== 1) return undefined;
  const [monomial, coefficient] = divisor[0]!;
  const quotient = new Map<string, number>();
  for (const [m, c] of poly(a)) {
    const rest = removeFactors(m, monomial);
    if (rest === undefined || c % coefficient !== 0) return undefined;
    quotient.set(rest, c / coefficient);
  }
  return canonical(quotient);
}

/** The symbols that occur in a size, sorted. */
export function symbolsOf(dim: Dim): string[] {
  if (typeof dim === "number") return [];
  return [...new Set([...poly(dim).keys()].flatMap((m) => (m === "" ? [] : m.split("*"))))].sort();
}

/** A size as a sum: each term a coefficient times symbols. */
export const termsOf = (dim: Dim): { readonly coefficient: number; readonly symbols: readonly string[] }[] =>
  [...poly(dim)].map(([m, coefficient]) => ({ coefficient, symbols: factorsOf(m) }));

/** The least and the largest value that a size can have. */
export function boundsOf(dim: Dim): { readonly min: number; readonly max: number } {
  if (typeof dim === "number") return { min: dim, max: dim };
  let [min, max] = [0, 0];
  for (const { coefficient, symbols } of termsOf(dim)) {
    const open = symbols.length > 0;
    min += coefficient < 0 && open ? -Infinity : coefficient;
    max += coefficient < 0 || !open ? coefficient : Infinity;
  }
  return { min, max };
}

/** Whether a size is a multiple of n whatever its symbols are. */
export const isMultipleOf = (dim: Dim, n: number): boolean => termsOf(dim).every((t) => t.coefficient % n === 0);

/** Replaces bound symbols by their numbers; what is not bound stays symbolic. */
export function bindDim(dim: Dim, sizes: Sizes): Dim {
  if (typeof dim === "number") return dim;
  let total: Dim = 0;
  for (const [monomial, coefficient] of poly(dim)) {
    const factors = monomial === "" ? [] : monomial.split("*");
    total = addDims(
      total,
      factors.reduce<Dim>((p, f) => mulDims(p, sizes[f] ?? f), coefficient),
    );
  }
  return total;
}

/** The number a size has once every symbol is bound; throws UsageError naming the symbol that is not. */
export function dimValue(dim: Dim, sizes: Sizes = {}): number {
  const bound = bindDim(dim, sizes);
  if (typeof bound === "number") return bound;
  throw new UsageError(`size "${bound}" needs a number for ${symbolsOf(bound).join(", ")}`);
}

/** Reads a size in text: numbers, symbols, + - and *. Throws UsageError. */
export function parseDim(text: string): Dim {
  const terms = text
    .replace(/\s+/g, "")
    .replace(/-/g, "+-")
    .split("+")
    .filter((t) => t !== "");
  if (terms.length === 0) throw new UsageError("an empty size");
  return terms.reduce<Dim>((total, term) => {
    const negative = term.startsWith("-");
    const factors = (negative ? term.slice(1) : term).split("*");
    const value = factors.reduce<Dim>((p, f) => mulDims(p, /^\d+$/.test(f) ? Number(f) : symbol(f)), 1);
    return addDims(total, negative ? mulDims(-1, value) : value);
  }, 0);
}

function poly(dim: Dim): Polynomial {
  if (typeof dim === "number") return new Map(dim === 0 ? [] : [["", dim]]);
  let p = parsed.get(dim);
  if (!p) {
    // Canonical strings are registered when they are made: an unknown one is a plain symbol, or was written by hand.
    p = /[+\-*]/.test(dim) ? poly(parseDim(dim)) : new Map([[dim, 1]]);
    parsed.set(dim, p);
  }
  return p;
}

function sum(a: Polynomial, b: Polynomial): Polynomial {
  const total = new Map(a);
  for (const [m, c] of b) total.set(m, (total.get(m) ?? 0) + c);
  return total;
}

function product(a: Polynomial, b: Polynomial): Polynomial {
  const total = new Map<string, number>();
  for (const [ma, ca] of a) {
    for (const [mb, cb] of b) {
      const m = [...factorsOf(ma), ...factorsOf(mb)].sort().join("*");
      total.set(m, (total.get(m) ?? 0) + ca * cb);
    }
  }
  return total;
}

const factorsOf = (monomial: string): string[] => (monomial === "" ? [] : monomial.split("*"));

function removeFactors(monomial: string, divisor: string): string | undefined {
  const factors = factorsOf(monomial);
  for (const f of factorsOf(divisor)) {
    const at = factors.indexOf(f);
    if (at < 0) return undefined;
    factors.splice(at, 1);
  }
  return factors.join("*");
}

function canonical(p: Polynomial): Dim {
  const terms = [...p].filter(([, c]) => c !== 0).sort(([a], [b]) => order(a, b));
  if (terms.length === 0) return 0;
  if (terms.length === 1 && terms[0]![0] === "") return terms[0]![1];
  const text = terms.map(([m, c], i) => printTerm(m, c, i === 0)).join("");
  if (!parsed.has(text)) parsed.set(text, new Map(terms));
  return text;
}

/** Symbols first in alphabetical order, the constant last. */
const order = (a: string, b: string): number => (a === "" ? 1 : b === "" ? -1 : a < b ? -1 : 1);

function printTerm(monomial: string, coefficient: number, first: boolean): string {
  const sign = coefficient < 0 ? "-" : first ? "" : "+";
  const magnitude = Math.abs(coefficient);
  if (monomial === "") return `${sign}${magnitude}`;
  return `${sign}${magnitude === 1 ? "" : `${magnitude}*`}${monomial}`;
}
