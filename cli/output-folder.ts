/** The folder that a command writes its files into. */
import { existsSync } from "node:fs";
import { rmdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { makeFolder } from "../runtime/index.ts";

/**
 * Creates `folder` and its parents unless they exist, then runs `work`, which writes into it. Where either throws, the
 * folders created here are removed again, unless they hold files by then. Throws FileError when it cannot be created.
 */
export async function inOutputFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const created = missingFolders(folder);
  try {
    await makeFolder(folder);
    return await work();
  } catch (error) {
    for (const one of created) await rmdir(one).catch(() => {}); // it fails for a folder that holds files
    throw error;
  }
}

/** The folder and its parents that do not exist, the innermost first. */
function missingFolders(folder: string): readonly string[] {
  const missing: string[] = [];
  for (let at = resolve(folder); !existsSync(at); at = dirname(at)) missing.push(at);
  return missing;
}
