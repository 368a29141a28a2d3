/** Facts about symbolic sizes that hold for all values of their symbols. */
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

/** Whether the relation holds for all values of the symbols. */
export function certainly(a: Dim, relation: ">" | ">=", b: Dim): boolean {
  if (a === b) return relation === ">=";
  const { min } = boundsOf(subDims(a, b));
  return relation === ">" ? min > 0 : min >= 0;
}

/** Limit on the terms of a quotient. */
const mostTerms = 32;

/** a / b by polynomial long division if it is exact for all values of the symbols; else undefined. */
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

/** The leading term by degree, then by symbol names: a monomial order, compatible with products. */
const leadingTerm = (size: Dim): Term => termsOf(size).reduce((first, t) => (isBefore(t, first) ? t : first));

function isBefore(a: Term, b: Term): boolean {
  if (a.symbols.length !== b.symbols.length) return a.symbols.length > b.symbols.length;
  const at = a.symbols.findIndex((s, i) => s.key !== b.symbols[i]!.key);
  return at >= 0 && a.symbols[at]!.key < b.symbols[at]!.key;
}

/** A single term as a size. */
const sizeOfTerm = (term: Term): Dim =>
  term.symbols.map((s) => symbol(s.name, s)).reduce<Dim>(mulDims, term.coefficient);
