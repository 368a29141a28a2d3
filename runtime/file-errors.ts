/** Actionable file errors: which file, what is wrong, and what to do. */
import { FileError, HeddleError } from "../compiler/index.ts";
import { errorCode } from "./file-system.ts";

/** Builds the error for a file whose content is wrong: `path: what`, then a hint. */
export function fileError(path: string, what: string, hint: string, cause?: unknown): FileError {
  return new FileError(`${path}: ${what}\n  hint: ${hint}`, { cause });
}

/** What the operating system's error codes mean, and what to do about each. */
const systemFaults: ReadonlyMap<string, readonly [what: string, hint: string]> = new Map([
  ["ENOSPC", ["no space is left on the device", "free some space there, or write to another disk"]],
  ["EDQUOT", ["the disk quota is used up", "free some space there, or write to another disk"]],
  ["EACCES", ["permission denied", "check who owns the file and its folder, or choose another folder"]],
  ["EPERM", ["the operation is not permitted", "check who owns the file and its folder, or choose another folder"]],
  ["EROFS", ["the file system is read-only", "choose a folder that can be written to"]],
  ["ENOENT", ["no such file or folder", "check the path, and that its folder exists"]],
  ["EISDIR", ["it is a folder, not a file", "name a file inside it"]],
  ["ENOTDIR", ["a part of the path is a file, not a folder", "check the path"]],
  ["EEXIST", ["it already exists", "remove it, or choose another name"]],
  ["ENOTEMPTY", ["the folder is not empty", "empty it, or choose another name"]],
  ["EMFILE", ["too many files are open", "raise the limit (ulimit -n)"]],
  ["ENFILE", ["too many files are open on this machine", "close other programs"]],
  ["ENAMETOOLONG", ["the name is too long", "choose a shorter one"]],
  ["EFBIG", ["the file is larger than the file system allows", "write to another disk, or in smaller shards"]],
  ["EBUSY", ["it is in use by another program", "close that program"]],
  ["ELOOP", ["its symbolic links form a loop", "fix or remove the links"]],
  ["EIO", ["the device reported an input/output error", "check the disk, and use another one"]],
]);

/**
 * The error to throw for `error`, raised while doing `action` ("read", "write") on `path`: a system error becomes a
 * FileError with a hint, which names the address of a file on a server; any other error is returned as it is.
 */
export function asFileError(error: unknown, action: string, path: string, extraFact = ""): unknown {
  const code = errorCode(error);
  if (error instanceof HeddleError || code === undefined) return error;
  const { address } = error as { readonly address?: string };
  if (code === "ENOENT" && address !== undefined)
    return new FileError(`${address}: the server has no such file\n  hint: check the address`, { cause: error });
  const [what, hint] = systemFaults.get(code) ?? [(error as Error).message, "see the system's message above"];
  return new FileError(`cannot ${action} ${path}: ${what}${extraFact}\n  hint: ${hint}`, { cause: error });
}

/** Runs `work`, turning system errors into a FileError about `path`. */
export async function explainingFaults<T>(action: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asFileError(error, action, path);
  }
}

/** A character as an escape sequence, `\u{...}`. */
const escaped = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`;

/**
 * Text for a terminal: control characters are escaped, so that a name from a file or a page cannot inject terminal
 * commands.
 */
export const escapeControls = (text: string): string => text.replace(/(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu, escaped);

const longestQuote = 120;

/** A name from a file, quoted for a message: control and invisible characters are escaped, long names truncated. */
export function quoted(name: string): string {
  const cut = name.length > longestQuote ? `${name.slice(0, longestQuote)}…` : name;
  return JSON.stringify(cut).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, escaped);
}

const units = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

/** A human-readable byte count: 11.8 GiB. */
export function formatBytes(bytes: number): string {
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(bytes, 1)) / 10)));
  return power === 0 ? `${bytes} bytes` : `${(bytes / 1024 ** power).toFixed(1)} ${units[power]}`;
}
