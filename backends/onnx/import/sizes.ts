/** What is true of open sizes whatever their symbols stand for. */
import {
  boundsOf,
  type Dim,
  divideDims,
  mulDims,
  subDims,
  symbol,
  type Term,
  termsOf,
} from "../../../compiler/index.ts";

/** Whether a is above b, or not below it, for all numbers that their symbols may be. */
export function certainly(a: Dim, relation: ">" | ">=", b: Dim): boolean {
  if (a === b) return relation === ">=";
  const { min } = boundsOf(subDims(a, b));
  return relation === ">" ? min > 0 : min >= 0;
}

/** Terms that a quotient may have. */
const mostTerms = 32;

/** a / b where that is a size whatever the symbols are, by long division; undefined where it is none. */
export function quotientOf(a: Dim, b: Dim): Dim | undefined {
  const simple = divideDims(a, b);
  if (simple !== undefined || termsOf(b).length < 2) return simple;
  const leading = sizeOfTerm(leadingTerm(b));
  let [rest, quotient]: [Dim, Dim] = [a, 0];
  for (let i = 0; i < mostTerms && rest !== 0; i++) {
    const term = divideDims(sizeOfTerm(leadingTerm(rest)), leading);
    if (term === undefined) return undefined;
    quotient = subDims(quotient, mulDims(-1, term));
    rest = subDims(rest, mulDims(term, b));
  }
  return rest === 0 ? quotient : undefined;
}

/** The first term in the order of their degrees, then of the names of their symbols: one that products respect. */
const leadingTerm = (size: Dim): Term => termsOf(size).reduce((first, t) => (isBefore(t, first) ? t : first));

function isBefore(a: Term, b: Term): boolean {
  if (a.symbols.length !== b.symbols.length) return a.symbols.length > b.symbols.length;
  const at = a.symbols.findIndex((s, i) => s.key !== b.symbols[i]!.key);
  return at >= 0 && a.symbols[at]!.key < b.symbols[at]!.key;
}

/** A term as a size: what is left of it where all others are taken away. */
const sizeOfTerm = (term: Term): Dim =>
  term.symbols.map((s) => symbol(s.name, s)).reduce<Dim>(mulDims, term.coefficient);
