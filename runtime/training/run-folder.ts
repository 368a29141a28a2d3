/** Where a run keeps what it makes: `runs/<name>/`, and which of those a resumed run goes on in. */
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { explainingFaults, fileError } from "../file-errors.ts";

/** A new folder for a run: the name itself, or the first of name-2, name-3 ... that is free. */
export async function freshRunFolder(root: string, name: string): Promise<string> {
  return await explainingFaults("create", join(root, name), async () => {
    await mkdir(root, { recursive: true });
    for (let i = 1; ; i++) {
      const folder = join(root, i === 1 ? name : `${name}-${i}`);
      try {
        await mkdir(folder);
        return folder;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    }
  });
}

/** The newest run of a name; throws FileError when there is none. */
export async function newestRunFolder(root: string, name: string): Promise<string> {
  const pattern = new RegExp(`^${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?:-(\\d+))?$`);
  const found = await readdir(root).catch(() => []);
  const numbers = found.flatMap((f) => {
    const match = pattern.exec(f);
    return match ? [{ folder: join(root, f), number: Number(match[1] ?? 1) }] : [];
  });
  const newest = numbers.sort((a, b) => b.number - a.number)[0];
  if (!newest) throw fileError(join(root, name), "there is no run to resume", "start one without --resume");
  return newest.folder;
}
