/** Where a run keeps what it makes: `runs/<name>/`, and which of those a resumed run goes on in. */
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { UsageError } from "../../compiler/index.ts";
import { removeLeftovers } from "../checkpoint/folders.ts";
import { explainingFaults, fileError, quoted } from "../file-errors.ts";
import { nodeFileSystem } from "../file-system.ts";
import { removeTemporaries } from "../files.ts";

export const metricsFile = (folder: string): string => join(folder, "metrics.jsonl");
export const checkpointsFolder = (folder: string): string => join(folder, "checkpoints");

/** Throws UsageError for a name that would lead out of the folder of all runs, or that some system has no file of. */
export function requireRunName(name: string): void {
  if (/^[\p{L}\p{N}][\p{L}\p{N} ._+=@-]{0,99}$/u.test(name) && !/[. ]$/.test(name)) return;
  throw new UsageError(
    `a job cannot be called ${quoted(name)}: its runs' folders have its name, which is letters, digits, blanks and any of . _ + = @ -, at most 100`,
  );
}

/** A new folder for a run: the name itself, or the first of name-2, name-3 ... that is free. */
export async function freshRunFolder(root: string, name: string): Promise<string> {
  requireRunName(name);
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

/** Files and folders of which a run has at least one, from its first moment on. */
const runMarks = ["run.json", "metrics.jsonl", "sources.json", "checkpoints"] as const;

/** Whether a run began in a folder. */
export const isRunFolder = (folder: string): boolean => runMarks.some((mark) => existsSync(join(folder, mark)));

/** The newest run of a name; throws FileError when there is none. Folders in which no run began are passed over. */
export async function newestRunFolder(root: string, name: string): Promise<string> {
  requireRunName(name);
  const pattern = new RegExp(`^${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?:-(\\d+))?$`);
  const found = await readdir(root).catch(() => []);
  const numbers = found.flatMap((f) => {
    const match = pattern.exec(f);
    return match ? [{ folder: join(root, f), number: Number(match[1] ?? 1) }] : [];
  });
  const runs = numbers.filter(({ folder }) => isRunFolder(folder));
  const newest = runs.sort((a, b) => b.number - a.number)[0];
  if (!newest) throw fileError(join(root, name), "there is no run to resume", "start one without --resume");
  return newest.folder;
}

/** Removes what killed processes left half-written in a run's folder. Only the process that has its lock may. */
export async function tidyRunFolder(folder: string): Promise<void> {
  await removeTemporaries(folder);
  const checkpoints = checkpointsFolder(folder);
  if (existsSync(checkpoints)) await removeLeftovers(nodeFileSystem, checkpoints);
}

/** Removes a run that failed before its first step, so that none is resumed that never began; any other stays. */
export async function removeFailedStart(folder: string): Promise<void> {
  if (!(await hasSteps(folder))) await rm(folder, { recursive: true, force: true });
}

/** Whether a run has done a step, or went on from one. */
export async function hasSteps(folder: string): Promise<boolean> {
  if (existsSync(checkpointsFolder(folder))) return true;
  const written = await stat(metricsFile(folder)).then(
    (s) => s.size,
    () => 0,
  );
  return written > 0;
}
