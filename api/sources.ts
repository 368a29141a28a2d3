/** What is read from: a path, a file of the person, a web address, or bytes. */
import { fileSystem } from "#host";
import { UsageError } from "../compiler/index.ts";
import { type FileSystem, memoryFileSystem, readBytes } from "../runtime/index.ts";

/**
 * A path in Node, and in a page one of its file system (see `useFileSystem`); a `File` or `Blob`; a `URL`, of which only the
 * ranges are fetched that are needed, where the server sends ranges; or the bytes themselves.
 */
export type Source = string | URL | Blob | Uint8Array;

/** A source as a file of a file system. */
export interface Located {
  readonly path: string;
  readonly fs: FileSystem;
}

/** Where the bytes of a source are had. */
export async function locate(source: Source): Promise<Located> {
  if (typeof source === "string") return { path: source, fs: fileSystem };
  if (source instanceof Uint8Array) return { path: "/bytes", fs: await inMemory("/bytes", source) };
  throw new UsageError(`a source is a path, a File, a Blob, a URL or bytes, not ${String(source)}`);
}

async function inMemory(path: string, bytes: Uint8Array): Promise<FileSystem> {
  const fs = memoryFileSystem();
  const file = await fs.open(path, "wx");
  await file.write(bytes, 0, bytes.length, null);
  return fs;
}

/** All bytes of a source. Throws FileError where it cannot be read or has more than `mostBytes`. */
export async function wholeOf(source: Source, mostBytes: number): Promise<Uint8Array> {
  const { path, fs } = await locate(source);
  return await readBytes(fs, path, mostBytes);
}
