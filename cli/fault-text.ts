/** What a person is told of an error, and with which status a command then ends. */
import { HeddleError, InternalError } from "../compiler/index.ts";
import { escapeControls } from "../runtime/index.ts";
import { InterruptedError } from "./interruption.ts";
import { userFault } from "./user-fault.ts";

/** Another rank has ended, which was told. */
export class RankLostError extends Error {}

/** A user's mistake is one message; only our own faults show a stack trace. What was told before has no text. */
export function faultText(error: unknown): { readonly text: string; readonly status: number } {
  if (error instanceof RankLostError) return { text: "", status: 1 };
  if (error instanceof HeddleError) {
    const status = error instanceof InterruptedError ? error.status : 1;
    return { text: `${error.name}: ${escapeControls(error.message)}`, status };
  }
  if (
    error instanceof RangeError &&
    /^Array buffer allocation failed|^Invalid (typed )?array (buffer )?length/.test(error.message)
  )
    return { text: "there is not enough memory for this: take a smaller model, --batch or number of beams", status: 1 };
  const ofUser = error instanceof InternalError ? undefined : userFault(error);
  if (ofUser !== undefined) return { text: escapeControls(ofUser), status: 1 };
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { text: `heddle itself failed; please report this:\n${escapeControls(text)}`, status: 2 };
}
