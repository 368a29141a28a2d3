/** Atomic file writes: a reader sees either the old content or the new, never a part of either. */
import { basename, dirname, fileSystem, join, resolve } from "#host";
import { FileError } from "../compiler/index.ts";
import { asFileError, explainingFaults, fileError, formatBytes } from "./file-errors.ts";
import { errorCode, type FileInfo, type FileSystem, type OpenFile } from "./file-system.ts";

/** Accepts the next bytes of a file; resolves once the operating system has them. */
export type ByteSink = (bytes: Uint8Array) => Promise<void>;

export interface WriteOptions {
  readonly fs?: FileSystem;
  /** Aborting stops the write: the temporary file is removed and the old file is left unchanged. */
  readonly signal?: AbortSignal;
}

/** A file written and synced under a temporary name beside its target, which stays untouched until `commit`. */
export interface StagedFile {
  /** Renames the file to its target, replacing it. */
  commit(): Promise<void>;
  /** Removes the temporary file. */
  discard(): Promise<void>;
}

/**
 * Writes a text (as UTF-8) or bytes to `path` through a temporary file in the same folder: write, sync, rename, sync
 * of the folder. Throws FileError, with the old file untouched, when the disk is full or the path cannot be written.
 */
export async function writeFileAtomically(
  path: string,
  content: string | Uint8Array,
  options: WriteOptions = {},
): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  await writeAtomically(path, (sink) => sink(bytes), options);
}

/** Like `writeFileAtomically`, for content that `produce` sends to the sink in pieces. */
export async function writeAtomically(
  path: string,
  produce: (sink: ByteSink) => Promise<void>,
  options: WriteOptions = {},
): Promise<void> {
  const staged = await stageFile(path, produce, options);
  await staged.commit();
}

/**
 * Writes and syncs a file under a temporary name, so that several files can be committed together. A killed process
 * leaves at most `<name>.<random>.tmp` files behind, which nothing reads.
 */
export async function stageFile(
  path: string,
  produce: (sink: ByteSink) => Promise<void>,
  options: WriteOptions = {},
): Promise<StagedFile> {
  const fs = options.fs ?? fileSystem;
  const { target, mode } = await explainingFaults("write", path, () => resolveTarget(fs, path));
  const temporary = join(dirname(target), temporaryName(basename(target)));
  const discard = () => fs.remove(temporary).finally(() => forget(temporary));
  hold(temporary);
  try {
    await writeNew(fs, temporary, mode, path, produce, options.signal);
  } catch (error) {
    await discard().catch(() => {}); // the first error is the one to report
    throw await withFreeSpace(fs, error, path);
  }
  const commit = () => commitFile(fs, temporary, target, path).finally(() => forget(temporary));
  return { commit, discard };
}

const held = new Set<string>();
let watcher: ((held: ReadonlySet<string>) => void) | undefined;

function hold(temporary: string): void {
  held.add(temporary);
  watcher?.(held);
}

function forget(temporary: string): void {
  held.delete(temporary);
  watcher?.(held);
}

/**
 * Calls `watch` with the paths of all temporary files whenever one begins or ends, so that a signal can remove them.
 */
export function watchTemporaries(watch: ((held: ReadonlySet<string>) => void) | undefined): void {
  watcher = watch;
}

async function writeNew(
  fs: FileSystem,
  temporary: string,
  mode: number | undefined,
  path: string,
  produce: (sink: ByteSink) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfAborted(signal, path);
  const file = await fs.open(temporary, "wx", mode);
  try {
    await produce((bytes) => writeAll(file, bytes, path, signal));
    throwIfAborted(signal, path);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function commitFile(fs: FileSystem, temporary: string, target: string, path: string): Promise<void> {
  try {
    await fs.rename(temporary, target);
    await fs.syncFolder(dirname(target));
  } catch (error) {
    await fs.remove(temporary).catch(() => {}); // the first error is the one to report
    throw asFileError(error, "write", path);
  }
}

/** Follows a symbolic link to its target, and refuses what a rename would destroy: folders and devices. */
async function resolveTarget(fs: FileSystem, path: string): Promise<{ target: string; mode?: number }> {
  const target = await fs.realpath(path).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return resolve(path);
    throw error;
  });
  const info = await infoOf(fs, target);
  if (info === undefined) return { target };
  if (info.isDirectory()) throw fileError(path, "cannot be written: it is a folder", "name a file inside it");
  if (!info.isFile()) throw fileError(path, "cannot be written: it is a device or a pipe", "name a regular file");
  return { target, mode: info.mode & 0o777 };
}

/** What is at `path`, or undefined when there is nothing. */
export async function infoOf(fs: FileSystem, path: string): Promise<FileInfo | undefined> {
  try {
    return await fs.stat(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** The name is truncated so that, with the suffix, it stays under file systems' limit of 255 bytes. */
const temporaryName = (name: string) => `${[...name].slice(0, 40).join("")}.${randomHex()}.tmp`;

/** 12 hexadecimal digits. */
export const randomHex = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const temporaryPattern = /\.[0-9a-f]{12}\.tmp$/;

/** Removes temporary files that killed processes left in a folder and its subfolders; none of them may be in use. */
export async function removeTemporaries(folder: string): Promise<void> {
  await explainingFaults("read", folder, async () => await removeTemporariesIn(await fileSystem.realpath(folder)));
}

/** Does not follow links: their targets may lie outside. */
async function removeTemporariesIn(folder: string): Promise<void> {
  for (const name of await fileSystem.readdir(folder)) {
    const path = join(folder, name);
    const info = await infoOf(fileSystem, path);
    if (!info || (await fileSystem.realpath(path)) !== path) continue;
    if (info.isDirectory()) await removeTemporariesIn(path);
    else if (info.isFile() && temporaryPattern.test(name)) await fileSystem.remove(path);
  }
}

/** Upper limit for a single write call, so that an abort is noticed in time. */
const largestWrite = 64 * 1024 * 1024;

async function writeAll(file: OpenFile, bytes: Uint8Array, path: string, signal?: AbortSignal): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    throwIfAborted(signal, path);
    const { bytesWritten } = await file.write(bytes, done, Math.min(bytes.length - done, largestWrite), null);
    done += bytesWritten;
  }
}

function throwIfAborted(signal: AbortSignal | undefined, path: string): void {
  if (!signal?.aborted) return;
  throw new FileError(`writing ${path} was stopped before it was complete; the previous file is unchanged`, {
    cause: signal.reason,
  });
}

async function withFreeSpace(fs: FileSystem, error: unknown, path: string): Promise<unknown> {
  if (errorCode(error) !== "ENOSPC") return asFileError(error, "write", path);
  const free = await fs.freeBytes(dirname(resolve(path))).catch(() => undefined);
  return asFileError(error, "write", path, free === undefined ? "" : ` (${formatBytes(free)} free)`);
}

/**
 * Throws FileError when the disk that holds `folder`, which need not exist yet, has fewer than `bytes` free bytes. Only
 * an early check before long work: the space may be used up meanwhile, and writing then fails with its own error.
 */
export async function requireFreeSpace(folder: string, bytes: number, options: WriteOptions = {}): Promise<void> {
  const fs = options.fs ?? fileSystem;
  let existing = resolve(folder);
  while ((await explainingFaults("read", existing, () => infoOf(fs, existing))) === undefined) {
    if (dirname(existing) === existing) throw fileError(folder, "its disk does not exist", "check the path");
    existing = dirname(existing);
  }
  const free = await explainingFaults("read", existing, () => fs.freeBytes(existing));
  if (free >= bytes) return;
  throw fileError(
    folder,
    `${formatBytes(bytes)} are needed and the disk has ${formatBytes(free)} free`,
    "free some space there, or choose a folder on another disk",
  );
}

/** Creates a folder and its parents unless they exist. Throws FileError when that fails. */
export async function makeFolder(folder: string, options: WriteOptions = {}): Promise<void> {
  await explainingFaults("create", folder, () => (options.fs ?? fileSystem).mkdir(folder));
}

/**
 * Throws FileError, before long work, when a file could not be written to `path`: it is a folder, or its folder does
 * not exist.
 */
export async function requireWritable(path: string, options: WriteOptions = {}): Promise<void> {
  const fs = options.fs ?? fileSystem;
  await explainingFaults("write", path, async () => {
    const { target } = await resolveTarget(fs, path);
    await fs.realpath(dirname(target));
  });
}

const smallPiece = 64 * 1024;
const largePiece = 4 * 1024 * 1024;

/** The bytes of a file, or of a range of it, in pieces; each piece is valid until the next one is requested. */
export async function* readPieces(
  fs: FileSystem,
  path: string,
  from?: number,
  to = Number.MAX_SAFE_INTEGER,
): AsyncGenerator<Uint8Array> {
  const file = await fs.open(path, "r");
  let buffer = new Uint8Array(smallPiece); // most files are small, and a large buffer is not free to allocate
  try {
    for (let at = from ?? 0; at < to; ) {
      const length = Math.min(buffer.length, to - at);
      const { bytesRead } = await file.read(buffer, 0, length, from === undefined ? null : at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
      if (bytesRead === smallPiece) buffer = new Uint8Array(largePiece);
    }
  } finally {
    await file.close();
  }
}

/** Reads a whole file. Throws FileError when it is larger than `mostBytes` or not an ordinary file. */
export async function readWhole(fs: FileSystem, path: string, mostBytes: number): Promise<Uint8Array> {
  return await explainingFaults("read", path, async () => {
    const info = await fs.stat(path);
    if (!info.isFile()) throw fileError(path, "it is not a regular file", "name a file");
    if (info.size > mostBytes) {
      throw fileError(
        path,
        `it has ${info.size} bytes, but at most ${mostBytes} are accepted`,
        "check that it is the intended file",
      );
    }
    const pieces: Uint8Array[] = [];
    for await (const piece of readPieces(fs, path)) pieces.push(piece.slice());
    return joined(pieces);
  });
}

/** Concatenates byte arrays. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Reads a UTF-8 text file; undefined when there is none. Throws FileError. */
export async function readText(path: string): Promise<string | undefined> {
  if ((await explainingFaults("read", path, () => infoOf(fileSystem, path))) === undefined) return undefined;
  return new TextDecoder().decode(await readWhole(fileSystem, path, Number.MAX_SAFE_INTEGER));
}

/** Whether a path exists and is accessible. */
export const isThere = async (path: string): Promise<boolean> =>
  (await infoOf(fileSystem, path).catch(() => undefined)) !== undefined;
