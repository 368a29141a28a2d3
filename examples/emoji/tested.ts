/** A stage's test results, kept beside its weights for the final report. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileError, writeFileAtomically } from "../../runtime/index.ts";

const fileName = "tested.json";

export const writeTested = (folder: string, found: object): Promise<void> =>
  writeFileAtomically(join(folder, fileName), `${JSON.stringify(found)}\n`);

/** The results in `folder`, whose type the caller knows. Throws FileError if they are missing. */
export async function readTested<T>(folder: string): Promise<T> {
  const path = join(folder, fileName);
  try {
    return JSON.parse(await readFile(path, "utf8")) as T;
  } catch {
    throw fileError(path, "what the stage's test found cannot be read", "train it again without --resume");
  }
}
