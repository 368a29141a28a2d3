/** Error messages, and the exit status of the command. */
import { HeddleError, InternalError } from "../compiler/index.ts";
import { asFileError, escapeControls } from "../runtime/index.ts";
import { InterruptedError } from "./interruption.ts";
import { readableFault } from "./readable-fault.ts";
import { userFault, withPlace } from "./user-fault.ts";

/** Another rank has ended, which was already reported. */
export class RankLostError extends Error {}

/** A user's mistake is one message; only internal errors show a stack trace. An error already reported has no text. */
export function faultText(thrown: unknown): { readonly text: string; readonly status: number } {
  const error = readableFault(thrown);
  if (error instanceof RankLostError) return { text: "", status: 1 };
  if (error instanceof HeddleError) {
    const status = error instanceof InterruptedError ? error.status : 1;
    return { text: escapeControls(withPlace(error)), status };
  }
  const ofUser = error instanceof InternalError ? undefined : userFault(error);
  if (ofUser !== undefined) return { text: escapeControls(ofUser), status: 1 };
  if (
    error instanceof RangeError &&
    /^Array buffer allocation failed|^Invalid (typed )?array (buffer )?length/.test(error.message)
  )
    return { text: "out of memory: use a smaller model, --batch or number of beams", status: 1 };
  // What the operating system refuses is never a fault of ours, even where no caller said what was being done.
  const { path } = error as NodeJS.ErrnoException;
  const told = typeof path === "string" ? asFileError(error, "read or write", path) : error;
  if (told instanceof HeddleError) return { text: escapeControls(`${told.name}: ${told.message}`), status: 1 };
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { text: `heddle itself failed; please report this:\n${escapeControls(text)}`, status: 2 };
}
