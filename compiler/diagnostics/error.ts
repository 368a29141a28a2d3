/** The errors heddle throws: a HeddleError is the user's to mend, an InternalError is ours. */

/** A mistake that the user can mend. The message says what is wrong, where, and what to do; no stack trace is shown for it. */
export class HeddleError extends Error {
  override name = "HeddleError";
}

/** Axes or sizes that do not fit an op: the message names the constraint, every operand and the user's line. */
export class ShapeError extends HeddleError {
  override name = "ShapeError";
}

/** Text in the graph language that does not parse or verify; holds every mistake of the file. */
export class GraphTextError extends HeddleError {
  override name = "GraphTextError";
}

/** Text of a kernel that does not parse or verify; holds every mistake of it. */
export class KernelTextError extends HeddleError {
  override name = "KernelTextError";
}

/** A model or job file, an option or a hyper-parameter that does not fit. */
export class UsageError extends HeddleError {
  override name = "UsageError";
}

/** A file that is missing, truncated, malformed or hostile. */
export class FileError extends HeddleError {
  override name = "FileError";
}

/** Something a device or target cannot do; names the op, dtype or limit. */
export class UnsupportedError extends HeddleError {
  override name = "UnsupportedError";
}

/** A fault of heddle's own: names the pass or room where an invariant broke. */
export class InternalError extends Error {
  override name = "InternalError";
}
