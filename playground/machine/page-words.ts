/**
 * Errors of a run rephrased for the page: the runtime mentions folders and disks, which users of the page do not see.
 */
import { FileError, UsageError } from "../../api/browser.ts";
import { FolderInUseError } from "../../runtime/index.ts";

/** The error to throw instead of one thrown by a run. */
export function inPageWords(error: unknown): unknown {
  if (error instanceof FolderInUseError)
    return new UsageError(
      "this model is being trained with the same settings in another window\n  hint: wait until that run ends, or close the window; with different settings both can train",
    );
  if (codeOf(error) === "ENOSPC")
    return new FileError(
      'the browser gives this page no more storage; files that were saved before are intact\n  hint: "Start over" removes the files of earlier runs; or free some disk space',
      { cause: error },
    );
  return error;
}

/** The system error code of an error or of its cause. */
function codeOf(error: unknown): unknown {
  const { code, cause } = (error ?? {}) as { readonly code?: unknown; readonly cause?: unknown };
  return code ?? (cause === undefined ? undefined : codeOf(cause));
}
