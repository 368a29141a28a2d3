/** File-system helpers of all readers: clear errors, path containment, a log of skipped samples. */
import { readdir, readFile, stat } from "node:fs/promises";
import { posix, resolve, sep } from "node:path";
import { FileError } from "../compiler/index.ts";
import { reasonOf } from "./records.ts";

export { isRecord, reasonOf } from "./records.ts";

/** A skipped sample, by the file or entry that held it. */
export interface Skipped {
  readonly name: string;
  readonly reason: string;
}

/** Called for each skipped sample; reading then continues. */
export type OnSkip = (skipped: Skipped) => void;

/** The number of skipped samples, and the first of them with their reasons. */
export interface SkipLog {
  readonly count: number;
  readonly first: readonly Skipped[];
  readonly add: OnSkip;
}

/** An empty log that keeps the first `limit` entries. A file skipped again in a later epoch is counted once. */
export function skipLog(limit = 100): SkipLog {
  const first: Skipped[] = [];
  const names = new Set<string>();
  return {
    first,
    get count() {
      return names.size;
    },
    add(skipped) {
      if (names.has(skipped.name)) return;
      names.add(skipped.name);
      if (first.length >= limit) return;
      first.push(skipped);
    },
  };
}

/** Awaits a sample; undefined after reporting to `onSkip` when its file is at fault. Other errors are rethrown. */
export async function orSkip<T>(sample: Promise<T>, name: string, onSkip: OnSkip): Promise<T | undefined> {
  try {
    return await sample;
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    onSkip({ name, reason: error.message });
    return undefined;
  }
}

/**
 * The names in a folder, sorted by code unit so that the order is the same on every machine; FileError when it is
 * missing.
 */
export async function listFolder(folder: string, what: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    throw new FileError(`${what} "${folder}" cannot be read: ${reasonOf(cause)}`, { cause });
  }
}

/** Checks that a file or folder exists before it is read; FileError otherwise. */
export async function requirePath(path: string, kind: "file" | "folder", what: string): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new FileError(`${what} "${path}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
  if (kind === "folder" ? found.isDirectory() : found.isFile()) return;
  throw new FileError(`${what} "${path}" is not a ${kind}`);
}

/** Parses a JSON file; FileError naming the file when it is missing, not UTF-8, or malformed. */
export async function readJson(path: string, what: string): Promise<unknown> {
  await requirePath(path, "file", what); // reading a pipe would block forever
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new FileError(`${what} "${path}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FileError(`${what} "${path}" is not valid JSON: ${reasonOf(cause)}`, { cause });
  }
}

/**
 * Whether a name from an archive or data file stays inside its folder: relative, without "..", a drive letter or NUL.
 */
export function staysInside(name: string): boolean {
  const slashed = name.replaceAll("\\", "/");
  if (slashed === "" || slashed.includes("\0") || slashed.startsWith("/") || /^[a-z]:/i.test(slashed)) return false;
  return !posix.normalize(slashed).split("/").includes("..");
}

/** The path of `name` under `folder`, or undefined when the name would leave it. */
export function insideFolder(folder: string, name: string): string | undefined {
  if (!staysInside(name)) return undefined;
  const root = resolve(folder);
  const path = resolve(root, name);
  return path.startsWith(root.endsWith(sep) ? root : root + sep) ? path : undefined;
}

/** Awaits a read; system errors become a FileError naming the place. */
export async function orSystemFault<T>(reading: Promise<T> | T, place: string): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    throw asSystemFault(cause, place);
  }
}

/** Converts a system error to a FileError naming the place; any other error is returned as it is. */
export function asSystemFault(cause: unknown, place: string): unknown {
  const { syscall, path } = cause as { readonly syscall?: unknown; readonly path?: unknown };
  if (typeof syscall !== "string") return cause;
  const where = typeof path !== "string" || place.includes(path) ? place : `${place}: ${path}`;
  return new FileError(`${where} cannot be read: ${reasonOf(cause)}`, { cause });
}

/** For `catch` where a bad file is reported later: returns a FileError, and throws any other error. */
export function orFileError(error: unknown): FileError {
  if (error instanceof FileError) return error;
  throw error;
}

/** Whether a text has no visible characters: only white space, controls and zero-width characters. */
export const isInvisible = (text: string): boolean =>
  /^[\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}]*$/u.test(text);

/** Escapes line breaks, so that a name or text stays on one line of a message. */
export const inOneLine = (text: string): string =>
  text.replace(/[\n\r\t\u2028\u2029]/g, (c) => (c === "\n" ? "\\n" : `\\u{${c.codePointAt(0)!.toString(16)}}`));

/** FileError for a text with an unpaired surrogate, which JSON's \u escapes can produce but UTF-8 cannot represent. */
export function requireWellFormed(text: string): void {
  if (!text.isWellFormed()) throw new FileError("its text has an unpaired surrogate");
}
