/** Arithmetic that a record states once: done on numbers it is the reference, on expressions it is a kernel. */

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
