/** What to do about a run, in words that are right on the command line and for a program's call of `train`. */

/** The hint to resume nothing. */
export const beginAnew = "start a new run (without --resume, or in another folder)";

/** The hint to continue a run from its newest checkpoint. */
export const goOn = "resume the run (--resume, or the same call of train)";
