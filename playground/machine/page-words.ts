/**
 * Errors of the run worker rephrased for the page: compiler and runtime mention folders and options of the command
 * line, which users of the page do not see.
 */
import { FileError, HeddleError, OutOfMemoryError, UsageError } from "../../api/browser.ts";
import { beginAnew, FolderInUseError } from "../../runtime/index.ts";

/** What the worker was asked for: to open a file, or anything else. */
export type Asked = "openFile" | "run";

/** The error to report instead of one that was thrown. */
export function inPageWords(error: unknown, asked: Asked = "run"): unknown {
  if (error instanceof FolderInUseError)
    return new UsageError(
      "this model is being trained with the same settings in another window\n  hint: wait until that run ends, or close the window; with different settings both can train",
    );
  if (codeOf(error) === "ENOSPC")
    return new FileError(
      'the browser gives this page no more storage; files that were saved before are intact\n  hint: "Start over" removes the files of earlier runs; or free some disk space',
      { cause: error },
    );
  if (error instanceof HeddleError)
    error.message = error.message.replace(beginAnew, 'begin a new run with "Start over"');
  if (error instanceof HeddleError && option.test(error.message)) error.message = withoutOptions(error, asked);
  return error;
}

/** An option of the command line. */
const option = /(?<![\w-])--[a-z]/;

/** The end of a clause, from the punctuation before the phrase that mentions an option. */
const phrase = /(?:[:,]| \()(?:(?![:,] | \().)*(?<![\w-])--[a-z].*$/;

/** An error's message without what it says of options, and with a hint for the page where none is left. */
function withoutOptions(error: HeddleError, asked: Asked): string {
  const lines = error.message.split("\n").flatMap((line) => {
    const [, start = "", text = line] = /^(\s*hint: )(.*)$/.exec(line) ?? [];
    if (start !== "" && asked === "openFile" && option.test(text)) return [];
    const kept = text
      .split("; ")
      .map((clause) => (error instanceof OutOfMemoryError ? clause : clause.replace(phrase, "")))
      .filter((clause) => !option.test(clause));
    return kept.length === 0 ? [] : [start + kept.join("; ")];
  });
  if (!lines.some((line) => /^\s*hint: /.test(line))) lines.push(`  hint: ${hintFor(error, asked)}`);
  return lines.join("\n");
}

function hintFor(error: HeddleError, asked: Asked): string {
  if (asked === "openFile")
    return "this page opens whole files as they are; on the command line, heddle import can set sizes and choose outputs, and heddle export writes a file to open here";
  return error instanceof OutOfMemoryError
    ? "a smaller batch or a smaller model needs less memory"
    : '"Start over" begins a new run';
}

/** The system error code of an error or of its cause. */
function codeOf(error: unknown): unknown {
  const { code, cause } = (error ?? {}) as { readonly code?: unknown; readonly cause?: unknown };
  return code ?? (cause === undefined ? undefined : codeOf(cause));
}
