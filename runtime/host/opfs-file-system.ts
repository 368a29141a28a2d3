/**
 * Files in a site's origin private file system (OPFS), or in a folder that a person picked: WHATWG File System.
 *
 * Differences from a disk: written data becomes visible, and outlives the page, only at `sync` or `close`, all at once;
 * until then the file is unchanged. A folder cannot be renamed: its files are moved one by one, after the move is
 * recorded, so that `opfsFileSystem` can complete it if the window was closed meanwhile. There are no modes and no
 * links.
 */
import { UnsupportedError } from "../../compiler/index.ts";
import type { FileInfo, FileSystem, OpenFile } from "../file-system.ts";
import { basename, dirname, join, resolve } from "./paths.ts";

/**
 * A browser's file or folder handle. All browsers have `move`, though the type declarations do not yet; it does not
 * work for files in a picked folder.
 */
type FileHandle = FileSystemFileHandle & {
  readonly move?: (folder: FileSystemDirectoryHandle, name: string) => Promise<void>;
};
type Handle = FileHandle | FileSystemDirectoryHandle;

/**
 * The site's own files, after completing moves that a closed window left unfinished. Throws UnsupportedError when the
 * browser offers none.
 */
export async function opfsFileSystem(): Promise<FileSystem> {
  const storage = globalThis.navigator?.storage;
  if (typeof storage?.getDirectory !== "function")
    throw new UnsupportedError(
      "this page has no private file system (navigator.storage.getDirectory)\n" +
        "  hint: open it over https or from localhost, and not in a private window",
    );
  return await folderFileSystem(await storage.getDirectory());
}

/** The files in a browser folder, as a file system rooted at "/". */
export async function folderFileSystem(root: FileSystemDirectoryHandle): Promise<FileSystem> {
  const files = new Folder(root);
  await files.endMoves();
  return files;
}

/** Below the root: one file for each folder move in progress, randomly named, with from and to as JSON. */
const movesFolder = ".moves";

class Folder implements FileSystem {
  private readonly root: FileSystemDirectoryHandle;

  constructor(root: FileSystemDirectoryHandle) {
    this.root = root;
  }

  async open(path: string, flags: "r" | "r+" | "wx"): Promise<OpenFile> {
    if (flags === "wx") {
      const parent = await this.folder(dirname(resolve(path)), path);
      if (await childOf(parent, basename(path))) throw fault("EEXIST", path);
      return new BrowserFile(await named(path, parent.getFileHandle(basename(path), { create: true })), path);
    }
    const handle = await this.require(path);
    if (handle.kind === "directory") throw fault("EISDIR", path);
    return new BrowserFile(handle, path);
  }

  async stat(path: string): Promise<FileInfo> {
    const handle = await this.require(path);
    return handle.kind === "directory" ? folderInfo : fileInfo((await handle.getFile()).size);
  }

  async realpath(path: string): Promise<string> {
    await this.require(path);
    return resolve(path);
  }

  async readdir(path: string): Promise<string[]> {
    const names = await Array.fromAsync((await this.folder(resolve(path), path)).keys());
    return resolve(path) === "/" ? names.filter((name) => name !== movesFolder) : names;
  }

  async mkdir(path: string): Promise<void> {
    let folder = this.root;
    const parts = resolve(path).split("/").filter(Boolean);
    for (const [i, part] of parts.entries()) {
      const there = await childOf(folder, part);
      if (there?.kind === "file") throw fault(i === parts.length - 1 ? "EEXIST" : "ENOTDIR", path);
      folder = there ?? (await named(path, folder.getDirectoryHandle(part, { create: true })));
    }
  }

  async rename(from: string, to: string): Promise<void> {
    const [source, target] = [resolve(from), resolve(to)];
    const handle = await this.require(from);
    const parent = await this.folder(dirname(target), to);
    if (source === target) return;
    if (target.startsWith(`${source}/`)) throw fault("EINVAL", to);
    const replaced = await childOf(parent, basename(target));
    if (replaced && replaced.kind !== handle.kind) throw fault(replaced.kind === "file" ? "ENOTDIR" : "EISDIR", to);
    if (handle.kind === "file") return await this.moveFile(handle, source, target);
    if (replaced?.kind === "directory" && !(await isEmpty(replaced))) throw fault("ENOTEMPTY", to);
    await alone(() => this.moveFolder(source, target));
  }

  async remove(path: string): Promise<void> {
    const [parent, name] = [await this.find(dirname(resolve(path))), basename(resolve(path))];
    if (parent?.kind !== "directory" || resolve(path) === "/") return;
    await named(path, parent.removeEntry(name, { recursive: true })).catch((error: unknown) => {
      if ((error as { readonly code?: string }).code !== "ENOENT") throw error;
    });
  }

  /** The browser keeps its own journal, and offers no call to flush it. */
  async syncFolder(): Promise<void> {}

  async freeBytes(): Promise<number> {
    const { quota = Number.MAX_SAFE_INTEGER, usage = 0 } = await navigator.storage.estimate();
    return Math.max(0, quota - usage);
  }

  /** Completes folder moves that were interrupted by closing a window. */
  async endMoves(): Promise<void> {
    if (!(await childOf(this.root, movesFolder))) return;
    await alone(async () => {
      if (!(await childOf(this.root, movesFolder))) return; // another window was moving, and has finished
      for (const name of await Array.fromAsync((await this.folder(`/${movesFolder}`)).keys())) {
        const note = `/${movesFolder}/${name}`;
        const { from, to } = moveIn(await ((await this.require(note)) as FileHandle).getFile().then((f) => f.text()));
        if (from && to && (await this.find(from))) await this.moveAll(from, to);
      }
      await this.remove(`/${movesFolder}`);
    });
  }

  private async moveFolder(source: string, target: string): Promise<void> {
    const note = `/${movesFolder}/${crypto.randomUUID()}`;
    await this.mkdir(dirname(note));
    const file = await this.open(note, "wx");
    const text = new TextEncoder().encode(JSON.stringify({ from: source, to: target }));
    await file.write(text, 0, text.length, 0);
    await file.close();
    await this.moveAll(source, target);
    await this.remove(dirname(note)); // the lock is exclusive, so no other note exists
  }

  private async moveAll(source: string, target: string): Promise<void> {
    await this.mkdir(target);
    for (const [name, handle] of await Array.fromAsync((await this.folder(source)).entries())) {
      const [from, to] = [join(source, name), join(target, name)];
      if (handle.kind === "directory") await this.moveAll(from, to);
      else await this.moveFile(handle as FileHandle, from, to);
    }
    await this.remove(source);
  }

  private async moveFile(handle: FileHandle, source: string, target: string): Promise<void> {
    const parent = await this.folder(dirname(target));
    if (handle.move) {
      const moved = await handle.move(parent, basename(target)).then(
        () => true,
        (error: DOMException) => {
          // Some files in a picked folder can only be moved by the operating system.
          if (["NotAllowedError", "NotSupportedError", "AbortError"].includes(error.name)) return false;
          throw explained(error, target);
        },
      );
      if (moved) return;
    }
    const copy = await named(target, parent.getFileHandle(basename(target), { create: true }));
    await named(
      target,
      handle.getFile().then(async (file) => file.stream().pipeTo(await copy.createWritable())),
    );
    await this.remove(source);
  }

  /** The handle at a path, or undefined. */
  private async find(path: string): Promise<Handle | undefined> {
    let at: Handle = this.root;
    for (const part of resolve(path).split("/").filter(Boolean)) {
      if (at.kind === "file") throw fault("ENOTDIR", path);
      const child: Handle | undefined = await childOf(at, part);
      if (!child) return undefined;
      at = child;
    }
    return at;
  }

  private async require(path: string): Promise<Handle> {
    const found = await this.find(path);
    if (!found) throw fault("ENOENT", path);
    return found;
  }

  private async folder(path: string, named = path): Promise<FileSystemDirectoryHandle> {
    const found = await this.find(path);
    if (!found) throw fault("ENOENT", named);
    if (found.kind === "file") throw fault("ENOTDIR", named);
    return found;
  }
}

/** Bytes to buffer before writing: each call to the browser costs a millisecond, regardless of size. */
const gatheredBytes = 2 ** 20;

/** An open file. Writes go to the browser's draft, which replaces the file on sync. */
class BrowserFile implements OpenFile {
  private readonly handle: FileSystemFileHandle;
  private readonly path: string;
  private draft: FileSystemWritableFileStream | undefined;
  /** Contiguous buffered writes, and the offset of the first. */
  private pieces: Uint8Array<ArrayBuffer>[] = [];
  private begin = 0;
  private gathered = 0;
  private content: File | undefined;
  private next = 0;
  /** The first error of a draft, which loses all of its content: later writes would leave a gap before them. */
  private broken: Error | undefined;

  constructor(handle: FileSystemFileHandle, path: string) {
    this.handle = handle;
    this.path = path;
  }

  async read(buffer: Uint8Array, offset: number, length: number, position: number | null) {
    await this.sync();
    const from = position ?? this.next;
    this.content ??= await named(this.path, this.handle.getFile());
    const part = await named(this.path, this.content.slice(from, from + length).arrayBuffer());
    buffer.set(new Uint8Array(part), offset);
    if (position === null) this.next += part.byteLength;
    return { bytesRead: part.byteLength };
  }

  async write(buffer: Uint8Array, offset: number, length: number, position: number | null) {
    const from = position ?? this.next;
    if (from !== this.begin + this.gathered) await this.flush();
    if (this.gathered === 0) this.begin = from;
    this.pieces.push(buffer.slice(offset, offset + length) as Uint8Array<ArrayBuffer>);
    this.gathered += length;
    if (this.gathered >= gatheredBytes) await this.flush();
    if (position === null) this.next += length;
    return { bytesWritten: length };
  }

  async stat(): Promise<FileInfo> {
    await this.sync();
    return fileInfo((await named(this.path, this.handle.getFile())).size);
  }

  async truncate(length: number): Promise<void> {
    await this.flush();
    await this.change((draft) => draft.truncate(length));
  }

  async sync(): Promise<void> {
    await this.flush();
    const { draft } = this;
    if (!draft) return;
    this.draft = undefined;
    this.content = undefined;
    await this.whole(draft.close());
  }

  close(): Promise<void> {
    return this.sync();
  }

  private async flush(): Promise<void> {
    if (this.gathered === 0) return;
    const [data, position] = [new Blob(this.pieces), this.begin];
    this.pieces = [];
    this.gathered = 0;
    await this.change((draft) => draft.write({ type: "write", position, data }));
  }

  private async change(edit: (draft: FileSystemWritableFileStream) => Promise<void>): Promise<void> {
    if (typeof this.handle.createWritable !== "function")
      throw new UnsupportedError(
        `this browser cannot write "${this.path}" (FileSystemFileHandle.createWritable)\n  hint: use a newer version of the browser`,
      );
    if (this.broken) throw this.broken;
    this.draft ??= await this.whole(this.handle.createWritable({ keepExistingData: true }));
    await this.whole(edit(this.draft));
  }

  private async whole<T>(pending: Promise<T>): Promise<T> {
    try {
      return await pending;
    } catch (error) {
      throw (this.broken ??= explained(error, this.path));
    }
  }
}

async function childOf(folder: FileSystemDirectoryHandle, name: string): Promise<Handle | undefined> {
  try {
    return await folder.getFileHandle(name);
  } catch (error) {
    const { name: kind } = error as DOMException;
    if (kind === "TypeMismatchError") return await folder.getDirectoryHandle(name);
    if (kind === "NotFoundError") return undefined;
    throw explained(error, name);
  }
}

async function isEmpty(folder: FileSystemDirectoryHandle): Promise<boolean> {
  for await (const _ of folder.keys()) return false;
  return true;
}

/** Only one window or worker at a time moves folders. */
const alone = <T>(work: () => Promise<T>): Promise<T> =>
  navigator.locks.request("heddle folders are moved", work) as Promise<T>;

function moveIn(text: string): { readonly from?: string; readonly to?: string } {
  try {
    return JSON.parse(text);
  } catch {
    return {}; // the note is incomplete, so nothing had been moved yet
  }
}

/** Browser exceptions and the corresponding system error codes. */
const codes: Readonly<Record<string, string>> = {
  NotFoundError: "ENOENT",
  TypeMismatchError: "ENOTDIR",
  InvalidModificationError: "ENOTEMPTY",
  NoModificationAllowedError: "EBUSY",
  NotAllowedError: "EACCES",
  QuotaExceededError: "ENOSPC",
  NotReadableError: "EIO",
  TypeError: "EINVAL",
};

function explained(error: unknown, path: string): Error {
  const { name, message } = error as Error;
  const code = codes[name];
  return code
    ? Object.assign(new Error(`${code}: ${message}, "${path}"`, { cause: error }), { code })
    : (error as Error);
}

/** Maps a browser promise's errors to those of a disk. */
const named = <T>(path: string, pending: Promise<T>): Promise<T> =>
  pending.catch((error: unknown) => {
    throw explained(error, path);
  });

const fault = (code: string, path: string): Error => Object.assign(new Error(`${code}: ${path}`), { code });

const folderInfo: FileInfo = { size: 0, mode: 0o644, isFile: () => false, isDirectory: () => true };
const fileInfo = (size: number): FileInfo => ({ size, mode: 0o644, isFile: () => true, isDirectory: () => false });
