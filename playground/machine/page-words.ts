/**
 * Errors of a run rephrased for the page: the runtime mentions folders and disks, which users of the page do not see.
 */
import { FileError, UsageError } from "../../api/browser.ts";
import { FolderInUseError } from "../../runtime/index.ts";

/** The error to throw instead of one thrown by a run. */
export function inPageWords(error: unknown): unknown {
  if (error instanceof FolderInUseError)
    return new UsageError(
      "this model is trained in another window with the same settings\n  hint: wait until it ends there, or close it; with other settings both can train",
    );
  if (codeOf(error) === "ENOSPC")
    return new FileError(
      'the browser gives this page no more room for its files; what was saved before is whole\n  hint: "Begin anew" removes what earlier runs left, or free space on the disk',
      { cause: error },
    );
  return error;
}

/** The system error code of an error or of its cause. */
function codeOf(error: unknown): unknown {
  const { code, cause } = (error ?? {}) as { readonly code?: unknown; readonly cause?: unknown };
  return code ?? (cause === undefined ? undefined : codeOf(cause));
}
