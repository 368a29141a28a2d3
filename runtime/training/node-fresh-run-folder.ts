/** The folder of a new run: made in one step, so that two processes that begin together have two. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { explainingFaults } from "../file-errors.ts";
import { errorCode } from "../file-system.ts";
import { fileSystem } from "../host/node-file-system.ts";
import { requireRunName } from "./run-folder.ts";

/** A new folder for a run: the name itself, or the first of name-2, name-3 ... that is free. */
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
