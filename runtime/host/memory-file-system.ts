/** An in-memory file system that raises the same errors as a disk. */
import type { FileInfo, FileSystem, OpenFile } from "../file-system.ts";
import { dirname, resolve } from "./paths.ts";

/** The content of a file, or a folder. */
type Entry = { bytes: Uint8Array; length: number } | "folder";

/** An empty file system; its files live only as long as the object. */
export function memoryFileSystem(): FileSystem {
  const entries = new Map<string, Entry>([["/", "folder"]]);
  const at = (path: string): Entry => {
    const entry = entries.get(resolve(path));
    if (entry === undefined) throw fault("ENOENT", path);
    return entry;
  };
  const requireFolder = (path: string) => {
    if (at(path) !== "folder") throw fault("ENOTDIR", path);
  };
  /** The paths of a folder and everything in it. */
  const within = (path: string) => [...entries.keys()].filter((key) => key === path || key.startsWith(below(path)));
  return {
    async open(path, flags) {
      const name = resolve(path);
      if (flags === "wx") {
        requireFolder(dirname(name));
        if (entries.has(name)) throw fault("EEXIST", path);
        entries.set(name, { bytes: new Uint8Array(0), length: 0 });
      }
      const entry = at(path);
      if (entry === "folder") throw fault("EISDIR", path);
      return openFile(entry);
    },
    stat: async (path) => infoOf(at(path)),
    realpath: async (path) => {
      at(path);
      return resolve(path);
    },
    readdir: async (path) => {
      requireFolder(path);
      const start = below(resolve(path));
      return [...entries.keys()]
        .filter((key) => key !== "/" && key.startsWith(start) && !key.slice(start.length).includes("/"))
        .map((key) => key.slice(start.length));
    },
    mkdir: async (path) => {
      const missing: string[] = [];
      let folder = resolve(path);
      for (; !entries.has(folder); folder = dirname(folder)) missing.push(folder);
      if (entries.get(folder) !== "folder") throw fault(missing.length > 0 ? "ENOTDIR" : "EEXIST", path);
      for (const one of missing.reverse()) entries.set(one, "folder");
    },
    rename: async (from, to) => {
      const [source, target] = [resolve(from), resolve(to)];
      at(from);
      requireFolder(dirname(target));
      if (source === target) return;
      if (target.startsWith(below(source))) throw fault("EINVAL", to);
      const replaced = entries.get(target);
      if (replaced !== undefined && (replaced === "folder") !== (at(from) === "folder"))
        throw fault(replaced === "folder" ? "EISDIR" : "ENOTDIR", to);
      if (replaced === "folder" && within(target).length > 1) throw fault("ENOTEMPTY", to);
      for (const path of within(source)) {
        entries.set(target + path.slice(source.length), entries.get(path)!);
        entries.delete(path);
      }
    },
    remove: async (path) => {
      for (const one of within(resolve(path))) if (one !== "/") entries.delete(one);
    },
    syncFolder: async () => {},
    freeBytes: async () => Number.MAX_SAFE_INTEGER,
  };
}

const below = (folder: string): string => (folder === "/" ? "/" : `${folder}/`);

const fault = (code: string, path: string): Error => Object.assign(new Error(`${code}: ${path}`), { code });

const infoOf = (entry: Entry): FileInfo => ({
  size: entry === "folder" ? 0 : entry.length,
  mode: 0o644,
  isFile: () => entry !== "folder",
  isDirectory: () => entry === "folder",
});

function openFile(entry: Exclude<Entry, "folder">): OpenFile {
  let next = 0;
  const place = (position: number | null, count: (from: number) => number): number => {
    const from = position ?? next;
    const done = count(from);
    if (position === null) next += done;
    return done;
  };
  const grow = (length: number) => {
    if (length > entry.bytes.length) {
      const larger = new Uint8Array(Math.max(length, 2 * entry.bytes.length));
      larger.set(entry.bytes.subarray(0, entry.length));
      entry.bytes = larger;
    }
    entry.length = Math.max(entry.length, length);
  };
  return {
    read: async (buffer, offset, length, position) => ({
      bytesRead: place(position, (from) => {
        const part = entry.bytes.subarray(from, Math.min(from + length, entry.length));
        buffer.set(part, offset);
        return part.length;
      }),
    }),
    write: async (buffer, offset, length, position) => ({
      bytesWritten: place(position, (from) => {
        grow(from + length);
        entry.bytes.set(buffer.subarray(offset, offset + length), from);
        return length;
      }),
    }),
    stat: async () => infoOf(entry),
    truncate: async (length) => {
      if (length < entry.length) {
        entry.bytes.fill(0, length, entry.length); // so that growing the file again yields zeros, not the old bytes
        entry.length = length;
      } else grow(length);
    },
    sync: async () => {},
    close: async () => {},
  };
}
