/** The folder of a new run, created atomically, so that two processes that start together get different ones. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { explainingFaults } from "../file-errors.ts";
import { errorCode } from "../file-system.ts";
import { fileSystem } from "../host/node-file-system.ts";
import { requireRunName } from "./run-folder.ts";

/** Creates a folder for a new run: the name itself, or the first free one of name-2, name-3 ... */
export async function freshRunFolder(root: string, name: string): Promise<string> {
  requireRunName(name);
  await explainingFaults("create", root, () => fileSystem.mkdir(root));
  return await explainingFaults("create", join(root, name), async () => {
    for (let i = 1; ; i++) {
      const folder = join(root, i === 1 ? name : `${name}-${i}`);
      try {
        await mkdir(folder);
        return folder;
      } catch (error) {
        if (errorCode(error) !== "EEXIST") throw error;
      }
    }
  });
}
