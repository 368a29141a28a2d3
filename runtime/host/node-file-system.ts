/** The operating system's file system. */
import { mkdir, open, readdir, realpath, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode, type FileSystem } from "../file-system.ts";

const isWindows = process.platform === "win32";

/** `mkdir` creates parents and `remove` is recursive; both succeed when there is nothing to do. */
export const fileSystem: FileSystem = {
  open,
  stat,
  realpath,
  readdir,
  mkdir: makeFolder,
  rename: isWindows ? renameWithPatience : rename,
  remove: (path) => rm(path, { recursive: true, force: true, maxRetries: 3 }),
  syncFolder: isWindows ? async () => {} : syncFolder, // Windows cannot open a folder to sync it; NTFS journals renames
  freeBytes: async (folder) => {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
};

/** Node's own recursive mkdir never returns for a folder that cannot be created by anyone, as below /proc. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const parent = dirname(path);
    if (errorCode(error) === "ENOENT" && parent !== path && path !== "" && !(await isThere(parent))) {
      await makeFolder(parent);
      return await makeFolder(path);
    }
    if (errorCode(error) === "EEXIST" && (await stat(path)).isDirectory()) return;
    throw error;
  }
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** On Windows, a virus scanner or indexer may briefly hold a new file, and renaming it fails meanwhile. */
async function renameWithPatience(from: string, to: string): Promise<void> {
  for (let waitMs = 10; ; waitMs *= 2) {
    try {
      return await rename(from, to);
    } catch (error) {
      if (waitMs > 1000 || !["EPERM", "EACCES", "EBUSY"].includes(errorCode(error) ?? "")) throw error;
      await sleep(waitMs);
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } catch (error) {
    // Some network file systems order renames themselves and refuse to sync a folder.
    if (!["EINVAL", "ENOTSUP"].includes(errorCode(error) ?? "")) throw error;
  } finally {
    await folder.close();
  }
}
