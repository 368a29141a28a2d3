/** Sources of data: a path, a user's file, a URL, or bytes. */
import { fileSystem } from "#host";
import { FileError, UsageError } from "../compiler/index.ts";
import { type JsonRecord, kindOfValue } from "../dsl/index.ts";
import { blobFileSystem, type FileSystem, isRecord, memoryFileSystem, readBytes, urlFiles } from "../runtime/index.ts";
import type { Kind } from "./options.ts";

/**
 * A path (in a page, of its file system, see `useFileSystem`); a `File` or `Blob`; a `URL`, fetched by range where the
 * server supports it, only as needed; the bytes themselves; or a path of another file system, such as `urlFiles` with a
 * cache or `blobFileSystem` of a folder that the user chose.
 */
export type Source = string | URL | Blob | Uint8Array | Located;

/** A file of a file system. */
export interface Located {
  readonly path: string;
  readonly fs: FileSystem;
}

export const isSource = (value: unknown): value is Source =>
  typeof value === "string" ||
  value instanceof URL ||
  value instanceof Blob ||
  value instanceof Uint8Array ||
  (typeof (value as Located | null)?.path === "string" && typeof (value as Located).fs?.open === "function");

export const sourceKind: Kind = { is: isSource, needed: "a path, a File, a Blob, a URL or bytes" };

/** The file that a source denotes. */
export async function locate(source: Source): Promise<Located> {
  if (typeof source === "string") return { path: pathIn(source), fs: fileSystem };
  if (source instanceof Uint8Array) return { path: "/bytes", fs: await inMemory("/bytes", source) };
  if (source instanceof URL)
    return source.protocol === "file:" ? { path: pathOf(source), fs: fileSystem } : urlFiles(webAddress(source));
  if (source instanceof Blob) return located(source);
  if (isSource(source)) return source;
  throw new UsageError(`a source must be ${sourceKind.needed}, got ${kindOfValue(source)}`);
}

/** A string is a path and is never fetched. */
function pathIn(text: string): string {
  if (text === "") throw new UsageError("the path of a source must not be empty");
  if (/^(https?|file|blob|data):/i.test(text))
    throw new UsageError(`"${text}" is a URL, not a path: pass it as new URL(address)`);
  return text;
}

function webAddress(url: URL): URL {
  if (/^https?:$/.test(url.protocol)) return url;
  const how = /^(blob|data):$/.test(url.protocol) ? ": pass its content, as await (await fetch(url)).blob()" : "";
  throw new UsageError(`"${url.href.slice(0, 60)}" is not an http, https or file URL${how}`);
}

/** On Windows the path of file:///C:/x is C:/x. */
function pathOf(url: URL): string {
  try {
    return decodeURIComponent(url.pathname).replace(/^\/(?=[A-Za-z]:)/, "");
  } catch {
    throw new UsageError(`${url.href} is not a valid file URL: it has an invalid % escape`);
  }
}

/** A blob as a file of its own name, if it has one. */
function located(blob: Blob): Located {
  const name = (blob instanceof File && blob.name) || "blob";
  return { path: `/${name}`, fs: blobFileSystem(new Map([[name, blob]])) };
}

async function inMemory(path: string, bytes: Uint8Array): Promise<FileSystem> {
  const fs = memoryFileSystem();
  const file = await fs.open(path, "wx");
  await file.write(bytes, 0, bytes.length, null);
  return fs;
}

/** All bytes of a source. Throws FileError if it cannot be read or has more than `mostBytes`. */
export async function wholeOf(source: Source, mostBytes: number): Promise<Uint8Array> {
  const { path, fs } = await locate(source);
  return await readBytes(fs, path, mostBytes);
}

/** The JSON object in a file, which errors call `name`. Throws FileError for any other content. */
export async function jsonObject({ path, fs }: Located, name: string, mostBytes: number): Promise<JsonRecord> {
  const text = new TextDecoder().decode(await readBytes(fs, path, mostBytes));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FileError(`${name} is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (isRecord(value)) return value as JsonRecord;
  throw new FileError(`${name} is not a JSON object`);
}
