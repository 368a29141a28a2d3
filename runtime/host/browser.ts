/** The host that a page or its worker is. Its files are in memory until `useFileSystem` gives others. */
import type { FileSystem } from "../file-system.ts";
import { type DrawingThreads, drawBytes, inPieces } from "../random/drawing.ts";
import type { Progress, ProgressOptions, RunLock } from "./host.ts";
import { FolderInUseError } from "./in-use.ts";
import { memoryFileSystem } from "./memory-file-system.ts";

export { crc32 } from "./crc32.ts";
export { basename, dirname, isAbsolute, join, relative, resolve, sep } from "./paths.ts";

let files: FileSystem = memoryFileSystem();

/** Takes the files of all that is begun after it from here: those of memory are gone with the page. */
export function useFileSystem(now: FileSystem): void {
  files = now;
}

/** Whichever file system is in use. */
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

/** Milliseconds before a folder is asked for again: a window that is being closed or loaded anew keeps it a moment longer. */
const closingMs = [200, 300, 500];

/**
 * Takes a run's folder for this window or worker among all of its origin. Throws UsageError where another has it; the
 * browser gives back what a closed window had.
 */
export async function lockRunFolder(folder: string): Promise<RunLock> {
  for (const wait of [...closingMs, undefined]) {
    const lock = await lockIfFree(folder);
    if (lock) return lock;
    if (wait !== undefined) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  throw new FolderInUseError(
    `${folder} is in use: another window or worker of this site trains in it\n  hint: wait until it ends, close it, or choose another folder`,
  );
}

const lockPrefix = "heddle run ";

/** The folders that windows and workers of this origin train in at the moment. */
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

/** A page draws its own progress from what it is told at each step. */
export const startProgress = ({ onNote }: ProgressOptions): Progress => ({
  update: () => {},
  note: (text) => onNote?.(text),
  dispose: () => {},
});

/** Draws in this thread, and what has several pieces so that a page can paint in between. */
export const drawingThreads = (): DrawingThreads => ({
  draw: (what) =>
    inPieces(what, 1, async (draw) => {
      if (draw.count < what.count) await new Promise((resolve) => setTimeout(resolve));
      return drawBytes({ ...draw, id: 0 });
    }),
  dispose: async () => {},
});
