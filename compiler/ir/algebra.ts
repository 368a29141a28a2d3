/** Arithmetic written once per op, generic in E: on numbers it is the reference, on expressions a kernel. */
import type { Dim } from "./dim.ts";

/** Operations on scalars of one dtype, and on the truth values that comparisons give. */
export interface ScalarAlgebra<E> {
  readonly constant: (value: number) => E;
  readonly add: (a: E, b: E) => E;
  readonly sub: (a: E, b: E) => E;
  readonly mul: (a: E, b: E) => E;
  readonly min: (a: E, b: E) => E;
  readonly max: (a: E, b: E) => E;
  readonly less: (a: E, b: E) => E;
  readonly equal: (a: E, b: E) => E;
  readonly and: (a: E, b: E) => E;
  readonly or: (a: E, b: E) => E;
  readonly select: (condition: E, yes: E, no: E) => E;
  /** A registered elementwise op whose result has the dtype of its operands. */
  readonly call: (op: string, ...operands: readonly E[]) => E;
}

/** An accumulator of a fold. */
export interface Accumulator {
  /** Initial value: a number, or an end of the dtype's range (infinite in the reference). */
  readonly start: number | "lowest" | "highest";
  /** Set if it holds a position; otherwise it has the operand's dtype. */
  readonly holds?: "position";
}

/**
 * How a reduction folds a row. `merge` is associative and commutative with identity `start`, so elements may be folded
 * in any order by any number of threads.
 */
export interface Fold {
  readonly accumulators: readonly Accumulator[];
  /** The accumulators of one element, from its operands' values and its position in the row; default: the values. */
  readonly lift?: <E>(s: ScalarAlgebra<E>, operands: readonly E[], position: E) => readonly E[];
  readonly merge: <E>(s: ScalarAlgebra<E>, a: readonly E[], b: readonly E[]) => readonly E[];
  /** Folding a row repeated n times gives the fold of the row ("same") or n times it ("times"); absent if neither. */
  readonly repeated?: "same" | "times";
  /** The result, from the accumulators of the whole row; default: the first one. */
  readonly finish?: <E>(s: ScalarAlgebra<E>, accumulators: readonly E[]) => E;
}

/** True if a row can be folded in parts whose results are then folded the same way. */
export const foldsParts = (fold: Fold): boolean => fold.accumulators.length === 1 && !fold.lift && !fold.finish;

export const liftOf = <E>(fold: Fold, s: ScalarAlgebra<E>, operands: readonly E[], position: E): readonly E[] =>
  fold.lift?.(s, operands, position) ?? operands;

export const finishOf = <E>(fold: Fold, s: ScalarAlgebra<E>, accumulators: readonly E[]): E =>
  fold.finish?.(s, accumulators) ?? accumulators[0]!;

/** Index arithmetic; dividends of `div` and `mod` are never negative. Comparisons give truth values. */
export interface IndexAlgebra<E> {
  /** A size, or a plain number. */
  readonly dim: (size: Dim) => E;
  readonly add: (a: E, b: E) => E;
  readonly sub: (a: E, b: E) => E;
  readonly mul: (a: E, b: E) => E;
  readonly div: (a: E, b: E) => E;
  readonly mod: (a: E, b: E) => E;
  readonly le: (a: E, b: E) => E;
  readonly lt: (a: E, b: E) => E;
  readonly and: (a: E, b: E) => E;
}

/** Maps an index (by axis) to one in another tensor; returns only the axes where the two differ. */
export type Indexing = <E>(a: IndexAlgebra<E>, at: (axis: string) => E) => Readonly<Record<string, E>>;

/** Where in one operand an element of the result is read from. */
export interface Source {
  readonly index: Indexing;
  /** Whether the element comes from this operand; default: always. */
  readonly inside?: <E>(a: IndexAlgebra<E>, at: (axis: string) => E) => E;
}

/** Where the elements of a movement's result come from. */
export interface IndexMap {
  /** One per operand: an element is read from the first that contains it. */
  readonly sources: readonly Source[];
  /** The axis along which the operands are concatenated: each may be computed in place. */
  readonly consecutive?: string;
  /** Set if the result is a contiguous range of one axis: it may be a view. */
  readonly range?: { readonly axis: string; readonly start: Dim };
  /** The value of an element that comes from no operand. */
  readonly outside?: number;
  /** The index in the result of an element of the operand; set if the movement is a bijection. */
  readonly inverse?: Indexing;
}

/** The flat index over several axes, row-major. */
export const flatIndex = <E>(
  a: IndexAlgebra<E>,
  axes: readonly { readonly name: string; readonly size: Dim }[],
  at: (axis: string) => E,
): E => axes.reduce<E>((n, { name, size }) => a.add(a.mul(n, a.dim(size)), at(name)), a.dim(0));

/** Splits a row-major flat index into one index per axis. Axes of size 1 cost no division: their index is 0. */
export function unflatIndex<E>(
  a: IndexAlgebra<E>,
  axes: readonly { readonly name: string; readonly size: Dim }[],
  flat: E,
): Record<string, E> {
  const index = Object.fromEntries(axes.map(({ name }) => [name, a.dim(0)]));
  const [first, ...others] = axes.filter(({ size }) => size !== 1);
  if (!first) return index;
  let rest = flat;
  for (const { name, size } of others.reverse()) {
    index[name] = a.mod(rest, a.dim(size));
    rest = a.div(rest, a.dim(size));
  }
  index[first.name] = rest;
  return index;
}
