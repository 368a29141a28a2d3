/** Faults of a run in the page's own words: the runtime speaks of folders and disks, which nobody sees here. */
import { FileError, UsageError } from "../../api/browser.ts";
import { FolderInUseError } from "../../runtime/index.ts";

/** What to throw for what a run threw. */
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

/** The system's code of a fault, or of what it comes from. */
function codeOf(error: unknown): unknown {
  const { code, cause } = (error ?? {}) as { readonly code?: unknown; readonly cause?: unknown };
  return code ?? (cause === undefined ? undefined : codeOf(cause));
}
