/** What every reader needs of the file system: clear errors, paths kept inside their folder, a log of what was skipped. */
import { readdir, readFile, stat } from "node:fs/promises";
import { posix, resolve, sep } from "node:path";
import { FileError } from "../compiler/index.ts";
import { reasonOf } from "./records.ts";

export { isRecord, reasonOf } from "./records.ts";

/** A sample that could not be used, with the file or entry that held it. */
export interface Skipped {
  readonly name: string;
  readonly reason: string;
}

/** Hears about each skipped sample; readers go on after it. */
export type OnSkip = (skipped: Skipped) => void;

/** How many samples were skipped, and the first of them by name and reason. */
export interface SkipLog {
  readonly count: number;
  readonly first: readonly Skipped[];
  readonly add: OnSkip;
}

/** An empty log that keeps the reasons of the first `limit`. A file met again in a later epoch is counted once. */
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

/** What a sample's promise gives, or undefined after telling `onSkip` when the sample's file is at fault; other errors pass. */
export async function orSkip<T>(sample: Promise<T>, name: string, onSkip: OnSkip): Promise<T | undefined> {
  try {
    return await sample;
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    onSkip({ name, reason: error.message });
    return undefined;
  }
}

/** The names in a folder, sorted by code unit so that every machine reads them in one order; FileError when it is missing. */
export async function listFolder(folder: string, what: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    throw new FileError(`${what} "${folder}" cannot be read: ${reasonOf(cause)}`, { cause });
  }
}

/** Checks that a file or folder is there before anything is read from it; FileError when it is not. */
export async function requirePath(path: string, kind: "file" | "folder", what: string): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new FileError(`${what} "${path}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
  if (kind === "folder" ? found.isDirectory() : found.isFile()) return;
  throw new FileError(`${what} "${path}" is not a ${kind}`);
}

/** Parses a JSON file; FileError naming the file when it is missing, no UTF-8 or malformed. */
export async function readJson(path: string, what: string): Promise<unknown> {
  await requirePath(path, "file", what); // reading a pipe would wait for ever
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new FileError(`${what} "${path}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FileError(`${what} "${path}" is not JSON: ${reasonOf(cause)}`, { cause });
  }
}

/** Whether a name from an archive or data file stays inside its folder: relative, without "..", drive or NUL. */
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

/** What a promise gives; FileError that names the place where the system refuses to read it. */
export async function orSystemFault<T>(reading: Promise<T> | T, place: string): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    throw asSystemFault(cause, place);
  }
}

/** An error of the system's as a FileError that names the place; any other as it is. */
export function asSystemFault(cause: unknown, place: string): unknown {
  const { syscall, path } = cause as { readonly syscall?: unknown; readonly path?: unknown };
  if (typeof syscall !== "string") return cause;
  const where = typeof path !== "string" || place.includes(path) ? place : `${place}: ${path}`;
  return new FileError(`${where} cannot be read: ${reasonOf(cause)}`, { cause });
}

/** Whether nothing of a text is seen: blanks, controls, and characters without a width. */
export const isInvisible = (text: string): boolean =>
  /^[\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}]*$/u.test(text);

/** A name or a text in a line of its own: a newline in it begins none. */
export const inOneLine = (text: string): string =>
  text.replace(/[\n\r\t\u2028\u2029]/g, (c) => (c === "\n" ? "\\n" : `\\u{${c.codePointAt(0)!.toString(16)}}`));

/** FileError for a text that JSON's \\u escapes left with half of a surrogate pair, which no UTF-8 can say. */
export function requireWellFormed(text: string): void {
  if (!text.isWellFormed()) throw new FileError("its text holds half of a surrogate pair");
}
