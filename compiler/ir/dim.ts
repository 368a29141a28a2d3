/**
 * Axis sizes: numbers, or polynomials over symbols such as past + tokens or 2·batch·tokens + 1. A symbol is bound when
 * a graph runs and may be declared with bounds. Sizes are interned: equal ones are identical.
 */
import { UsageError } from "../diagnostics/error.ts";

/** A size: a number, or a polynomial over symbols. */
export type Dim = number | SymbolicDim;
/** Values of symbolic sizes, by the symbols' names. */
export type Sizes = Readonly<Record<string, number>>;

/** The allowed values of a symbol: multiples of `multipleOf` from `min` to `max`, inclusive. */
export interface SizeBounds {
  readonly min: number;
  /** Infinity if not declared. */
  readonly max: number;
  readonly multipleOf: number;
}

export interface SizeSymbol extends SizeBounds {
  readonly name: string;
  /** Unique per name and bounds. */
  readonly key: string;
}

/** An integer times a product of symbols. */
export interface Term {
  readonly coefficient: number;
  /** Sorted by key; powers repeat their symbol. */
  readonly symbols: readonly SizeSymbol[];
}

/** A polynomial with at least one symbol; made only by the functions of this file, which intern it. */
export class SymbolicDim {
  /** The constant term comes last; no coefficient is 0. */
  readonly terms: readonly Term[];
  /** Unique per polynomial, including the bounds of its symbols: for comparisons and as a map key. */
  readonly key: string;
  readonly #text: string;

  /** @internal */
  constructor(terms: readonly Term[], key: string) {
    this.terms = terms;
    this.key = key;
    this.#text = printTerms(terms, nameOf);
    Object.freeze(this);
  }

  /** As in the text form: "2*batch*tokens+1". */
  toString(): string {
    return this.#text;
  }

  toJSON(): string {
    return this.#text;
  }
}

const symbols = new Map<string, SizeSymbol>();
const polynomials = new Map<string, SymbolicDim>();

/**
 * The size of the symbol `name`: any integer from 1 if no bounds are given. Throws UsageError for an invalid name, and
 * for bounds that are invalid or exclude every number.
 */
export function symbol(name: string, bounds: Partial<SizeBounds> = {}): SymbolicDim {
  if (!/^[a-zA-Z_]\w*$/.test(name)) throw new UsageError(`"${name}" cannot name a size: use letters, digits and _`);
  return canonical([{ coefficient: 1, symbols: [internSymbol(name, bounds)] }]) as SymbolicDim;
}

/** Bounds are tightened to multiples, so that equal sets of values give the same symbol. */
function internSymbol(name: string, bounds: Partial<SizeBounds>): SizeSymbol {
  const { multipleOf = 1, max: most = Number.POSITIVE_INFINITY } = bounds;
  const { min: least = 1 } = bounds;
  const whole = (n: number) => Number.isSafeInteger(n) && n >= 1;
  if (![least, multipleOf].every(whole) || !(whole(most) || most === Number.POSITIVE_INFINITY)) {
    const given = printBounds({ min: least, max: most, multipleOf });
    throw new UsageError(`the bounds of the size "${name}" are integers from 1, not ${given}`);
  }
  const min = Math.ceil(least / multipleOf) * multipleOf;
  const max = most === Number.POSITIVE_INFINITY ? most : Math.floor(most / multipleOf) * multipleOf;
  if (min > max) {
    throw new UsageError(
      `no number is within the bounds of the size "${name}": ${printBounds({ min: least, max: most, multipleOf })}`,
    );
  }
  const key = isUnbounded({ min, max, multipleOf }) ? name : `${name}{${min}..${max}/${multipleOf}}`;
  let found = symbols.get(key);
  if (!found) symbols.set(key, (found = Object.freeze({ name, min, max, multipleOf, key })));
  return found;
}

/** True for the bounds of a symbol declared without any. */
export const isUnbounded = ({ min, max, multipleOf }: SizeBounds): boolean =>
  min === 1 && max === Number.POSITIVE_INFINITY && multipleOf === 1;

/** "8..2048 multiple of 8", as in the text form. */
export function printBounds({ min, max, multipleOf }: SizeBounds): string {
  const range = `${min}..${max === Number.POSITIVE_INFINITY ? "" : max}`;
  return multipleOf === 1 ? range : `${range} multiple of ${multipleOf}`;
}

export const isSymbolic = (value: unknown): value is SymbolicDim => value instanceof SymbolicDim;

/** The terms of a size; none for 0. */
export const termsOf = (dim: Dim): readonly Term[] =>
  typeof dim !== "number" ? dim.terms : dim === 0 ? [] : [{ coefficient: dim, symbols: [] }];

/** A unique key per size, including the bounds of its symbols. */
export const dimKey = (dim: Dim): string => (typeof dim === "number" ? String(dim) : dim.key);

/** The symbol, if the size is just one symbol. */
export function loneSymbol(dim: Dim): SizeSymbol | undefined {
  const [term, ...more] = termsOf(dim);
  return more.length === 0 && term?.coefficient === 1 && term.symbols.length === 1 ? term.symbols[0] : undefined;
}

/** The symbols in a size, sorted by key. */
export const symbolsOf = (dim: Dim): SizeSymbol[] =>
  [...new Set(termsOf(dim).flatMap((t) => t.symbols))].sort((a, b) => compare(a.key, b.key));

/**
 * Solves dim = value for its one unbound symbol; the result may not be an integer. Undefined if no symbol is unbound,
 * several are, or a term is not linear in it.
 */
export function solveDim(dim: Dim, value: number, sizes: Sizes): { symbol: SizeSymbol; value: number } | undefined {
  let [rest, factor] = [value, 0];
  let unknown: SizeSymbol | undefined;
  for (const { coefficient, symbols } of termsOf(dim)) {
    const [open, ...more] = symbols.filter((s) => !Object.hasOwn(sizes, s.name));
    const known = symbols.reduce((n, s) => (s === open ? n : n * sizes[s.name]!), coefficient);
    if (!open) rest -= known;
    else if (more.length > 0 || (unknown && unknown !== open)) return undefined;
    else [unknown, factor] = [open, factor + known];
  }
  return unknown && factor !== 0 ? { symbol: unknown, value: rest / factor } : undefined;
}

export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  if (a === 0) return b;
  if (b === 0) return a;
  return canonical([...termsOf(a), ...termsOf(b)]);
}

/** The product of two sizes. */
export function mulDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number") return typeof b === "number" ? a * b + 0 : scaled(b, a); // never -0
  if (typeof b === "number") return scaled(a, b);
  return canonical(termsOf(a).flatMap((x) => termsOf(b).map((y) => product(x, y))));
}

/** A size times a number; keeps the order of its terms. */
function scaled(dim: SymbolicDim, by: number): Dim {
  if (by === 0 || by === 1) return by && dim;
  return interned(dim.terms.map(({ coefficient, symbols }) => ({ coefficient: coefficient * by, symbols })));
}

export const subDims = (a: Dim, b: Dim): Dim => addDims(a, mulDims(-1, b));
export const productOfDims = (dims: readonly Dim[]): Dim => dims.reduce<Dim>(mulDims, 1);

/** Limit on the terms of a quotient. */
const mostTerms = 32;

/** a / b if it can be shown to be exact for every value of the symbols, else undefined: polynomial long division. */
export function divideDims(a: Dim, b: Dim): Dim | undefined {
  if (typeof a === "number" && typeof b === "number") return b !== 0 && a % b === 0 ? a / b : undefined;
  if (a === b) return 1;
  const divisor = termsOf(b);
  if (divisor.length === 0) return undefined;
  if (divisor.length === 1) {
    const terms = termsOf(a).map((t) => termQuotient(t, divisor[0]!));
    return terms.includes(undefined) ? undefined : canonical(terms as Term[]);
  }
  const leading = leadingTerm(divisor);
  let [rest, quotient]: [Dim, Dim] = [a, 0];
  for (let i = 0; i < mostTerms && rest !== 0; i++) {
    const term = termQuotient(leadingTerm(termsOf(rest)), leading);
    if (!term) return undefined;
    quotient = addDims(quotient, canonical([term]));
    rest = subDims(rest, canonical(divisor.map((t) => product(t, term))));
  }
  return rest === 0 ? quotient : undefined;
}

function termQuotient(a: Term, b: Term): Term | undefined {
  const rest = without(a.symbols, b.symbols);
  if (!rest || a.coefficient % b.coefficient !== 0) return undefined;
  return { coefficient: a.coefficient / b.coefficient, symbols: rest };
}

/** The leading term by degree, then by symbol names: a monomial order, compatible with products. */
const leadingTerm = (terms: readonly Term[]): Term => terms.reduce((first, t) => (isBefore(t, first) ? t : first));

function isBefore(a: Term, b: Term): boolean {
  if (a.symbols.length !== b.symbols.length) return a.symbols.length > b.symbols.length;
  const at = a.symbols.findIndex((s, i) => s.key !== b.symbols[i]!.key);
  return at >= 0 && a.symbols[at]!.key < b.symbols[at]!.key;
}

/** floor(a / n) if it is a polynomial, as it is where all terms but the constant are multiples of n; else undefined. */
export function floorDivide(a: Dim, n: number): Dim | undefined {
  const constant = termsOf(a).find((t) => t.symbols.length === 0)?.coefficient ?? 0;
  const whole = divideDims(subDims(a, constant), n);
  return whole === undefined ? undefined : addDims(whole, Math.floor(constant / n));
}

/** The factors left after removing each of `divisor` once; undefined if one is missing. */
function without(factors: readonly SizeSymbol[], divisor: readonly SizeSymbol[]): SizeSymbol[] | undefined {
  const rest = [...factors];
  for (const symbol of divisor) {
    const at = rest.indexOf(symbol);
    if (at < 0) return undefined;
    rest.splice(at, 1);
  }
  return rest;
}

/** Interval bounds of a size over all values of its symbols; for a sum they may not be tight. */
export function boundsOf(dim: Dim): Interval {
  if (typeof dim === "number") return { min: dim, max: dim };
  let found = intervals.get(dim);
  if (!found) intervals.set(dim, (found = intervalOf(dim.terms)));
  return found;
}

interface Interval {
  readonly min: number;
  readonly max: number;
}

const intervals = new WeakMap<SymbolicDim, Interval>();

/**
 * Sums the terms' intervals. Terms of both signs, as in rows·columns - 2·rows, grow together: they are also summed as a
 * polynomial in how far each symbol is above its least value, which often has one sign, and the tighter ends are kept.
 */
function intervalOf(terms: readonly Term[]): Interval {
  const plain = sumOfIntervals(terms, (s) => [s.min, s.max]);
  const signs = new Set(terms.filter((t) => t.symbols.length > 0).map((t) => Math.sign(t.coefficient)));
  if (signs.size < 2 || terms.some((t) => t.symbols.length > mostFactors)) return plain;
  const above = sumOfIntervals(byMonomial(terms.flatMap(aboveLeast)).values(), (s) => [0, s.max - s.min]);
  return { min: Math.max(plain.min, above.min), max: Math.min(plain.max, above.max) };
}

/** Limit on the factors of a term that is expanded, as into two to the power of them. */
const mostFactors = 6;

/** A term with each symbol s replaced by s.min + s, expanded. */
const aboveLeast = ({ coefficient, symbols }: Term): Term[] =>
  symbols.reduce<Term[]>(
    (terms, s) =>
      terms.flatMap((t) => [
        { coefficient: t.coefficient * s.min, symbols: t.symbols },
        { coefficient: t.coefficient, symbols: [...t.symbols, s] },
      ]),
    [{ coefficient, symbols: [] }],
  );

function sumOfIntervals(
  terms: Iterable<Term>,
  range: (symbol: SizeSymbol) => readonly [min: number, max: number],
): Interval {
  let [min, max] = [0, 0];
  for (const { coefficient, symbols } of terms) {
    const end = (which: 0 | 1): number => symbols.reduce((p, s) => times(p, range(s)[which]), coefficient);
    const ends = [end(0), end(1)];
    min += Math.min(...ends);
    max += Math.max(...ends);
  }
  return { min, max };
}

/** The product of two numbers; 0 of a range without end is 0. */
const times = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b);

/** True if a size is a multiple of n for every value of its symbols; may miss some cases. */
export const isMultipleOf = (dim: Dim, n: number): boolean =>
  termsOf(dim).every(({ coefficient, symbols }) => symbols.reduce((p, s) => p * s.multipleOf, coefficient) % n === 0);

/**
 * Replaces symbols by numbers or other sizes; symbols not in `sizes` remain. Throws UsageError for a number outside the
 * declared bounds of its symbol.
 */
export function bindDim(dim: Dim, sizes: Readonly<Record<string, Dim>>): Dim {
  if (typeof dim === "number") return dim;
  const bound = dim.terms.flatMap(({ coefficient, symbols }): readonly Term[] => {
    const open: SizeSymbol[] = [];
    let told: Dim = coefficient;
    for (const symbol of symbols) {
      const value = Object.hasOwn(sizes, symbol.name) ? sizes[symbol.name]! : undefined;
      if (value === undefined) open.push(symbol);
      else told = mulDims(told, typeof value === "number" ? checkBound(symbol, value) : value);
    }
    return termsOf(told).map((t) => product(t, { coefficient: 1, symbols: open }));
  });
  return canonical(bound);
}

function checkBound(symbol: SizeSymbol, value: number): number {
  const { name, min, max, multipleOf } = symbol;
  if (Number.isSafeInteger(value) && value >= min && value <= max && value % multipleOf === 0) return value;
  const range = max === Number.POSITIVE_INFINITY ? `${min} or more` : `${min} to ${max}`;
  const steps = multipleOf === 1 ? "" : `, in multiples of ${multipleOf}`;
  throw new UsageError(`the size "${name}" is ${value}, but it may be ${range}${steps}`);
}

/** The number of a size with its symbols bound; throws UsageError naming those that are not. */
export function dimValue(dim: Dim, sizes: Sizes = {}): number {
  const bound = bindDim(dim, sizes);
  if (typeof bound === "number") return bound;
  const open = symbolsOf(bound).map((s) => s.name);
  throw new UsageError(`size "${bound}" needs a number for ${open.join(", ")}`);
}

const product = (a: Term, b: Term): Term => ({
  coefficient: a.coefficient * b.coefficient,
  symbols: [...a.symbols, ...b.symbols].sort((x, y) => compare(x.key, y.key)),
});

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Terms with the same symbols as one, by the keys of these. */
function byMonomial(parts: readonly Term[]): Map<string, Term> {
  const sum = new Map<string, Term>();
  for (const { coefficient, symbols } of parts) {
    const monomial = symbols.map((s) => s.key).join("*");
    sum.set(monomial, { coefficient: (sum.get(monomial)?.coefficient ?? 0) + coefficient, symbols });
  }
  return sum;
}

/** The canonical, interned size that is the sum of some terms. */
function canonical(parts: readonly Term[]): Dim {
  const terms = [...byMonomial(parts)].filter(([, t]) => t.coefficient !== 0).sort(([a], [b]) => order(a, b));
  if (terms.length === 0) return 0;
  if (terms.length === 1 && terms[0]![0] === "") return terms[0]![1].coefficient;
  return interned(terms.map(([, term]) => term));
}

function interned(terms: readonly Term[]): SymbolicDim {
  const key = printTerms(terms, (s) => s.key);
  let found = polynomials.get(key);
  if (!found) polynomials.set(key, (found = new SymbolicDim(terms, key)));
  return found;
}

const nameOf = (symbol: SizeSymbol): string => symbol.name;

/** A size as in the text form, with its symbols printed by `spell`. */
export const printDim = (dim: Dim, spell: (symbol: SizeSymbol) => string = nameOf): string =>
  typeof dim === "number" ? String(dim) : printTerms(dim.terms, spell);

/** Prints two different sizes for a message, with the bounds of their symbols if they would look the same. */
export function printApart(a: Dim, b: Dim): readonly [string, string] {
  const spell = String(a) === String(b) ? (s: SizeSymbol) => `${s.name} (${printBounds(s)})` : nameOf;
  return [printDim(a, spell), printDim(b, spell)];
}

/** Alphabetical, the constant last. */
const order = (a: string, b: string): number => (a === "" ? 1 : b === "" ? -1 : compare(a, b));

function printTerms(terms: readonly Term[], spell: (symbol: SizeSymbol) => string): string {
  return terms
    .map(({ coefficient, symbols }, i) => {
      const sign = coefficient < 0 ? "-" : i === 0 ? "" : "+";
      const magnitude = Math.abs(coefficient);
      const factors = magnitude === 1 && symbols.length > 0 ? [] : [String(magnitude)];
      return `${sign}${[...factors, ...symbols.map(spell)].join("*")}`;
    })
    .join("");
}
