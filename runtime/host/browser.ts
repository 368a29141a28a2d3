/** The browser host, for a page or its worker. Files are in memory until `useFileSystem` sets another file system. */
import type { FileSystem } from "../file-system.ts";
import { type DrawingThreads, drawBytes, inPieces } from "../random/drawing.ts";
import type { Progress, ProgressOptions, RunLock } from "./host.ts";
import { FolderInUseError } from "./in-use.ts";
import { memoryFileSystem } from "./memory-file-system.ts";

export { crc32 } from "./crc32.ts";
export { basename, dirname, isAbsolute, join, relative, resolve, sep } from "./paths.ts";

let files: FileSystem = memoryFileSystem();

/** Sets the file system for everything started afterwards. Files in memory are lost with the page. */
export function useFileSystem(now: FileSystem): void {
  files = now;
}

/** Delegates to the file system in use. */
export const fileSystem: FileSystem = {
  open: (...args) => files.open(...args),
  stat: (path) => files.stat(path),
  realpath: (path) => files.realpath(path),
  readdir: (path) => files.readdir(path),
  mkdir: (path) => files.mkdir(path),
  rename: (from, to) => files.rename(from, to),
  remove: (path) => files.remove(path),
  syncFolder: (path) => files.syncFolder(path),
  freeBytes: (folder) => files.freeBytes(folder),
};

/** Milliseconds before retrying a lock: a window that is being closed or reloaded holds it a moment longer. */
const closingMs = [200, 300, 500];

/**
 * Locks a run's folder for this window or worker within its origin. Throws UsageError when another holds it; the
 * browser releases the locks of a closed window.
 */
export async function lockRunFolder(folder: string): Promise<RunLock> {
  for (const wait of [...closingMs, undefined]) {
    const lock = await lockIfFree(folder);
    if (lock) return lock;
    if (wait !== undefined) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  throw new FolderInUseError(
    `${folder} is in use: another window or worker of this site is training in it\n  hint: wait until it ends, close it, or choose another folder`,
  );
}

const lockPrefix = "heddle run ";

/** The folders that windows and workers of this origin currently train in. */
export async function foldersInUse(): Promise<readonly string[]> {
  const { held = [] } = await navigator.locks.query();
  return held.flatMap(({ name }) => (name?.startsWith(lockPrefix) ? [name.slice(lockPrefix.length)] : []));
}

async function lockIfFree(folder: string): Promise<RunLock | undefined> {
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const asked = Promise.withResolvers<boolean>();
  const ended = navigator.locks.request(`${lockPrefix}${folder}`, { ifAvailable: true }, async (lock) => {
    asked.resolve(lock !== null);
    if (lock) await held;
  });
  ended.catch(asked.reject);
  if (!(await asked.promise)) return undefined;
  return {
    dispose: async () => {
      release();
      await ended;
    },
  };
}

/** A page draws its own progress, from the callback at each step. */
export const startProgress = ({ onNote }: ProgressOptions): Progress => ({
  update: () => {},
  note: (text) => onNote?.(text),
  dispose: () => {},
});

/** Draws on this thread, yielding between pieces so that a page can paint. */
export const drawingThreads = (): DrawingThreads => ({
  draw: (what) =>
    inPieces(what, 1, async (draw) => {
      if (draw.count < what.count) await new Promise((resolve) => setTimeout(resolve));
      return drawBytes({ ...draw, id: 0 });
    }),
  dispose: async () => {},
});
