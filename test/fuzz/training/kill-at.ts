/** Kills this process with SIGKILL at the n-th file system operation: before it, or halfway through a write. */
import type { FileSystem, OpenFile } from "../../../runtime/file-system.ts";
import { fileSystem } from "../../../runtime/host/node-host.ts";

const die = (): Promise<never> => {
  process.kill(process.pid, "SIGKILL");
  return new Promise(() => {});
};

/** Wraps the file system operations that runs write through. Returns how many of them there were so far. */
export function killAtOperation(last: number): () => number {
  let done = 0;
  const isLast = () => ++done === last;
  const watched = fileSystem as { -readonly [K in keyof FileSystem]: FileSystem[K] };
  const { open, rename, remove, mkdir, syncFolder } = fileSystem;
  watched.open = async (path, flags, mode) => {
    if (flags !== "r" && isLast()) return await die();
    const file = await open(path, flags, mode);
    return flags === "r" ? file : watchedFile(file, isLast);
  };
  watched.rename = async (from, to) => (isLast() ? await die() : await rename(from, to));
  watched.remove = async (path) => (isLast() ? await die() : await remove(path));
  watched.mkdir = async (path) => (isLast() ? await die() : await mkdir(path));
  watched.syncFolder = async (path) => (isLast() ? await die() : await syncFolder(path));
  return () => done;
}

const watchedFile = (file: OpenFile, isLast: () => boolean): OpenFile => ({
  read: (...args) => file.read(...args),
  write: async (buffer, offset, length, position) => {
    if (!isLast()) return await file.write(buffer, offset, length, position);
    await file.write(buffer, offset, Math.floor(length / 2), position);
    return await die();
  },
  stat: () => file.stat(),
  truncate: async (length) => (isLast() ? await die() : await file.truncate(length)),
  sync: async () => (isLast() ? await die() : await file.sync()),
  close: () => file.close(),
});
