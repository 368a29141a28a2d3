/** Read-only file systems: of blobs, of a web server. */
import type { FileInfo, FileSystem, OpenFile } from "../file-system.ts";
import { basename, resolve } from "./paths.ts";

/** Random-access bytes. */
export interface Source {
  readonly size: number;
  /** Fills `into` with the bytes from `from` on, as far as there are any; returns their number. */
  read(from: number, into: Uint8Array): Promise<number>;
}

/** Bytes in memory. */
export const bytesSource = (bytes: Uint8Array): Source => ({
  size: bytes.length,
  read: async (from, into) => {
    const part = bytes.subarray(from, from + into.length);
    into.set(part);
    return part.length;
  },
});

/** The entry at an absolute path: a file, the names in a folder, or nothing. */
export type Found = Source | { readonly names: readonly string[] } | undefined;

/**
 * A file system over the entries that `find` returns; its errors are those of a read-only disk. An entry that is
 * missing has the `address` that `addressOf` gives, for messages.
 */
export function readOnlyFileSystem(
  find: (path: string) => Promise<Found>,
  addressOf?: (path: string) => string,
): FileSystem {
  const at = async (path: string) => {
    const found = await find(resolve(path));
    if (found !== undefined) return found;
    throw Object.assign(fault("ENOENT", path), addressOf && { address: addressOf(resolve(path)) });
  };
  const refuse = async (path: string): Promise<never> => {
    throw fault("EROFS", path);
  };
  return {
    async open(path, flags) {
      if (flags !== "r") return await refuse(path);
      const found = await at(path);
      if ("names" in found) throw fault("EISDIR", path);
      return openSource(found, path);
    },
    stat: async (path) => infoOf(await at(path)),
    realpath: async (path) => {
      await at(path);
      return resolve(path);
    },
    readdir: async (path) => {
      const found = await at(path);
      if (!("names" in found)) throw fault("ENOTDIR", path);
      return [...found.names];
    },
    mkdir: refuse,
    rename: refuse,
    remove: refuse,
    syncFolder: async () => {},
    freeBytes: async () => 0,
    ...(addressOf && { shown: (path: string) => addressOf(resolve(path)) }),
  };
}

/** A file system of named sources; "a/b" lies in the folder "a". */
export function sourcesFileSystem(sources: ReadonlyMap<string, Source>): FileSystem {
  const files = new Map([...sources].map(([name, source]) => [resolve(name), source]));
  return readOnlyFileSystem(async (path) => {
    const start = path === "/" ? path : `${path}/`;
    const below = [...files.keys()].filter((name) => name.startsWith(start));
    const names = [...new Set(below.map((name) => name.slice(start.length).split("/")[0]!))];
    return files.get(path) ?? (path === "/" || names.length > 0 ? { names } : undefined);
  });
}

function openSource(source: Source, path: string): OpenFile {
  let next = 0;
  const refuse = async (): Promise<never> => {
    throw fault("EROFS", path);
  };
  return {
    async read(buffer, offset, length, position) {
      const from = position ?? next;
      const bytesRead = await source.read(from, buffer.subarray(offset, offset + length));
      if (position === null) next += bytesRead;
      return { bytesRead };
    },
    stat: async () => infoOf(source),
    write: refuse,
    truncate: refuse,
    sync: async () => {},
    close: async () => {},
  };
}

const infoOf = (found: Exclude<Found, undefined>): FileInfo => ({
  size: "names" in found ? 0 : found.size,
  mode: 0o444,
  isFile: () => !("names" in found),
  isDirectory: () => "names" in found,
});

const fault = (code: string, path: string): Error =>
  Object.assign(new Error(`${code}: "${basename(path) || path}"`), { code });
