/** What is read from: a path, a file of the person, a web address, or bytes. */
import { fileSystem } from "#host";
import { UsageError } from "../compiler/index.ts";
import { blobFileSystem, type FileSystem, memoryFileSystem, readBytes, urlFiles } from "../runtime/index.ts";

/**
 * A path in Node, and in a page one of its file system (see `useFileSystem`); a `File` or `Blob`; a `URL`, of which only the
 * ranges are fetched that are needed, where the server sends ranges; the bytes themselves; or a path of another file
 * system, such as `urlFiles` with a cache or `blobFileSystem` of a folder that was chosen.
 */
export type Source = string | URL | Blob | Uint8Array | Located;

/** A source as a file of a file system. */
export interface Located {
  readonly path: string;
  readonly fs: FileSystem;
}

/** Where the bytes of a source are had. */
export async function locate(source: Source): Promise<Located> {
  if (typeof source === "string") return { path: source, fs: fileSystem };
  if (source instanceof Uint8Array) return { path: "/bytes", fs: await inMemory("/bytes", source) };
  if (source instanceof URL)
    return source.protocol === "file:" ? { path: pathOf(source), fs: fileSystem } : urlFiles(source);
  if (source instanceof Blob) return located(source);
  if (typeof source?.path === "string" && typeof source.fs?.open === "function") return source;
  throw new UsageError(`a source is a path, a File, a Blob, a URL or bytes, not ${String(source)}`);
}

/** On Windows the path of file:///C:/x is C:/x. */
function pathOf(url: URL): string {
  try {
    return decodeURIComponent(url.pathname).replace(/^\/(?=[A-Za-z]:)/, "");
  } catch {
    throw new UsageError(`${url.href} is no address of a file: what follows a % in it is no character`);
  }
}

/** A blob by its name, if it has one. */
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

/** All bytes of a source. Throws FileError where it cannot be read or has more than `mostBytes`. */
export async function wholeOf(source: Source, mostBytes: number): Promise<Uint8Array> {
  const { path, fs } = await locate(source);
  return await readBytes(fs, path, mostBytes);
}
