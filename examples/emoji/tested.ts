/** What a stage's test found, kept beside its weights: the report at the end is made of all of them. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileError, writeFileAtomically } from "../../runtime/index.ts";

const fileName = "tested.json";

export const writeTested = (folder: string, found: object): Promise<void> =>
  writeFileAtomically(join(folder, fileName), `${JSON.stringify(found)}\n`);

/** What the stage in `folder` kept; the caller knows of which kind it is. Throws FileError where it is not there. */
export async function readTested<T>(folder: string): Promise<T> {
  const path = join(folder, fileName);
  try {
    return JSON.parse(await readFile(path, "utf8")) as T;
  } catch {
    throw fileError(path, "what the stage's test found cannot be read", "train it again without --resume");
  }
}
