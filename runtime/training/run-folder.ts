/** The layout of a run's folder, `runs/<name>/`, and which folder a resume continues. */
import { fileSystem, join } from "#host";
import { UsageError } from "../../compiler/index.ts";
import { listCandidates, removeLeftovers } from "../checkpoint/folders.ts";
import { fileError, quoted } from "../file-errors.ts";
import { isThere, removeTemporaries } from "../files.ts";
import { beginAnew } from "../resume-hints.ts";

export const metricsFile = (folder: string): string => join(folder, "metrics.jsonl");
export const checkpointsFolder = (folder: string): string => join(folder, "checkpoints");

/**
 * Throws UsageError for a name that would escape the folder of all runs, or that some operating system does not allow.
 */
export function requireRunName(name: string): void {
  if (/^[\p{L}\p{N}][\p{L}\p{N} ._+=@-]{0,99}$/u.test(name) && !/[. ]$/.test(name)) return;
  throw new UsageError(
    `invalid job name ${quoted(name)}: it names the run folders, so it may have at most 100 letters, digits, spaces and . _ + = @ -`,
  );
}

/**
 * Files and folders of which every run has at least one from the start. `sources.json` is none: it is written before
 * `run.json`, so that no run is resumed from other weights than it was to start from.
 */
const runMarks = ["run.json", "metrics.jsonl", "checkpoints"] as const;

/** Whether a folder belongs to a run. */
export async function isRunFolder(folder: string): Promise<boolean> {
  for (const mark of runMarks) if (await isThere(join(folder, mark))) return true;
  return false;
}

/** The newest run of a name; throws FileError when there is none. Folders that are not a run's are ignored. */
export async function newestRunFolder(root: string, name: string): Promise<string> {
  requireRunName(name);
  const pattern = new RegExp(`^${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?:-(\\d+))?$`);
  const found = await fileSystem.readdir(root).catch(() => []);
  const numbers = found.flatMap((f) => {
    const match = pattern.exec(f);
    return match ? [{ folder: join(root, f), number: Number(match[1] ?? 1) }] : [];
  });
  for (const { folder } of numbers.sort((a, b) => b.number - a.number)) if (await isRunFolder(folder)) return folder;
  throw fileError(join(root, name), "there is no run to resume", beginAnew);
}

/** Removes partial files that killed processes left in a run's folder. Requires the folder's lock. */
export async function tidyRunFolder(folder: string): Promise<void> {
  await removeTemporaries(folder);
  const checkpoints = checkpointsFolder(folder);
  if (await isThere(checkpoints)) await removeLeftovers(fileSystem, checkpoints);
}

/** Removes a run that failed before its first step, so that it cannot be resumed; any other run is kept. */
export async function removeFailedStart(folder: string): Promise<void> {
  if (!(await hasSteps(folder))) await fileSystem.remove(folder);
}

/**
 * Whether a run has a complete checkpoint, damaged or not: without, it begins again from the weights of its sources.
 */
export const hasSavedStep = async (folder: string): Promise<boolean> =>
  (await listCandidates(fileSystem, checkpointsFolder(folder))).length > 0;

/** Whether a run came as far as its first checkpoint. */
export const hasCheckpoints = (folder: string): Promise<boolean> => isThere(checkpointsFolder(folder));

/** Whether a run was started here, even if it ended before its first step. */
export const hasBegun = async (folder: string): Promise<boolean> =>
  (await hasCheckpoints(folder)) || (await isThere(metricsFile(folder)));

/** Whether a run has completed a step, or was resumed from one. */
export async function hasSteps(folder: string): Promise<boolean> {
  if (await hasCheckpoints(folder)) return true;
  const written = await fileSystem.stat(metricsFile(folder)).then(
    (s) => s.size,
    () => 0,
  );
  return written > 0;
}
