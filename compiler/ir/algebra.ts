/** Arithmetic that a record states once: done on numbers it is the reference, on expressions it is a kernel. */
import type { Dim } from "./dim.ts";

/** Values of one dtype, and truth values of comparing them. */
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
  /** An elementwise op of the registry, whose result has the dtype of its operands. */
  readonly call: (op: string, ...operands: readonly E[]) => E;
}

/** An accumulator of a fold. */
export interface Accumulator {
  /** What it begins with; the ends of the dtype's range are infinite in the reference. */
  readonly start: number | "lowest" | "highest";
  /** The dtype of the operand, but where it counts positions. */
  readonly holds?: "position";
}

/**
 * How a reduction folds a row. `merge` is associative and commutative, and `start` is neutral to it: rows are folded in
 * any order, by as many threads as there are.
 */
export interface Fold {
  readonly accumulators: readonly Accumulator[];
  /** The accumulators of one element, from its operands' values and its position in the row; default: the value. */
  readonly lift?: <E>(s: ScalarAlgebra<E>, operands: readonly E[], position: E) => readonly E[];
  readonly merge: <E>(s: ScalarAlgebra<E>, a: readonly E[], b: readonly E[]) => readonly E[];
  /** The fold of a row repeated n times: that of the row itself, or n times it; left out where it is neither. */
  readonly repeated?: "same" | "times";
  /** The result, from the accumulators of the whole row; default: the first one. */
  readonly finish?: <E>(s: ScalarAlgebra<E>, accumulators: readonly E[]) => E;
}

/** True where folding parts of a row, and then the results in the same way, folds the row. */
export const foldsParts = (fold: Fold): boolean => fold.accumulators.length === 1 && !fold.lift && !fold.finish;

export const liftOf = <E>(fold: Fold, s: ScalarAlgebra<E>, operands: readonly E[], position: E): readonly E[] =>
  fold.lift?.(s, operands, position) ?? operands;

export const finishOf = <E>(fold: Fold, s: ScalarAlgebra<E>, accumulators: readonly E[]): E =>
  fold.finish?.(s, accumulators) ?? accumulators[0]!;

/** Arithmetic of indices, none of them negative where they are divided; comparisons give truth values. */
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

/** From an index, given by axis, to that in another tensor: along the axes where the two differ. */
export type Indexing = <E>(a: IndexAlgebra<E>, at: (axis: string) => E) => Readonly<Record<string, E>>;

/** Where an element of a result lies in one operand. */
export interface Source {
  readonly index: Indexing;
  /** Whether it lies in this operand at all; default: it does. */
  readonly inside?: <E>(a: IndexAlgebra<E>, at: (axis: string) => E) => E;
}

/** Where the elements of a movement's result come from. */
export interface IndexMap {
  /** One for each operand: an element is read from the first that it lies inside of. */
  readonly sources: readonly Source[];
  /** The axis along which the operands lie one after another, so that each may be computed in its place. */
  readonly consecutive?: string;
  /** Where the result is a run of neighbouring elements of one axis, so that it may be read where it lies. */
  readonly range?: { readonly axis: string; readonly start: Dim };
  /** The value of an element that lies in no operand. */
  readonly outside?: number;
  /** The index in the result, given that in the operand: where each element of the operand is there exactly once. */
  readonly inverse?: Indexing;
}

/** The flat index of several axes, the first slowest. */
export const flatIndex = <E>(
  a: IndexAlgebra<E>,
  axes: readonly { readonly name: string; readonly size: Dim }[],
  at: (axis: string) => E,
): E => axes.reduce<E>((n, { name, size }) => a.add(a.mul(n, a.dim(size)), at(name)), a.dim(0));

/** A flat index as one of each axis, the first slowest. Axes of size 1 ask for no division: their index is 0. */
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
