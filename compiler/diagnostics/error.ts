/** The errors that heddle throws: a HeddleError is for the user to fix, an InternalError is a bug in heddle. */

/** A mistake that the user can fix. The message says what is wrong, where, and what to do; no stack trace is shown. */
export class HeddleError extends Error {
  override name = "HeddleError";
}

/** Axes or sizes that are invalid for an op: the message names the constraint, every operand and the user's line. */
export class ShapeError extends HeddleError {
  override name = "ShapeError";
}

/** Text in the graph language that does not parse or verify; holds every mistake in the file. */
export class GraphTextError extends HeddleError {
  override name = "GraphTextError";
}

/** Kernel text that does not parse or verify; holds every mistake in it. */
export class KernelTextError extends HeddleError {
  override name = "KernelTextError";
}

/** An invalid model file, job file, option or hyperparameter. */
export class UsageError extends HeddleError {
  override name = "UsageError";
}

/** A memory budget that no plan keeps. */
export class BudgetError extends UsageError {
  /** Bytes of the plan that came nearest. */
  readonly least: number;

  constructor(message: string, least: number) {
    super(message);
    this.least = least;
  }
}

/** A file that is missing, truncated, malformed or hostile. */
export class FileError extends HeddleError {
  override name = "FileError";
}

/** Something that a device or target does not support; names the op, dtype or limit. */
export class UnsupportedError extends HeddleError {
  override name = "UnsupportedError";
}

/** A bug in heddle: names the pass or module where an invariant was broken. */
export class InternalError extends Error {
  override name = "InternalError";
}
