/** The folder of a run's checkpoints: listing, verifying and removing them. */
import { crc32, join } from "#host";
import type { Ranks } from "../collectives/index.ts";
import { explainingFaults } from "../file-errors.ts";
import type { FileSystem } from "../file-system.ts";
import { infoOf, readPieces, readWhole } from "../files.ts";
import { combined, type Summed } from "./crc32-combine.ts";
import { type CheckpointRecord, parseRecord, stateFileName } from "./state-file.ts";

/** Processes that save and load together: all of them make the same calls, with the same steps and names. */
export type Together = Pick<Ranks, "decide" | "tell"> & Pick<Ranks["collectives"], "rank" | "size">;

/** A checkpoint folder. `record` is an error message when its state file cannot be used. */
export interface Candidate {
  readonly path: string;
  readonly record: CheckpointRecord | string;
}

/** `step-000123`, or `step-000123.2` when the step was saved again after resuming from an earlier one. */
const folderPattern = /^step-\d+(\.\d+)?$/;
/**
 * Folders being written or removed. They are never read, and the next save removes those that a killed process left.
 */
const partialSuffix = ".partial";
const removedSuffix = ".removed";

export const partialPath = (folder: string, step: number) => join(folder, `${stepName(step)}${partialSuffix}`);

/** A larger state file was not written by heddle. */
const largestState = 100_000_000;

export const stepName = (step: number) => `step-${String(step).padStart(6, "0")}`;

/** All checkpoints in a folder: those without a usable state file first, then newest first by sequence. */
export async function listCandidates(fs: FileSystem, folder: string): Promise<Candidate[]> {
  if ((await infoOf(fs, folder)) === undefined) return [];
  const names = (await fs.readdir(folder))
    .filter((name) => folderPattern.test(name))
    .sort()
    .reverse();
  const candidates: Candidate[] = [];
  for (const name of names) candidates.push(await readCandidate(fs, join(folder, name)));
  const order = ({ record }: Candidate) => (typeof record === "string" ? Number.MAX_SAFE_INTEGER : record.sequence);
  return candidates.sort((a, b) => order(b) - order(a));
}

async function readCandidate(fs: FileSystem, path: string): Promise<Candidate> {
  const statePath = join(path, stateFileName);
  const info = await infoOf(fs, statePath);
  if (!info?.isFile()) return { path, record: `it has no ${stateFileName}` };
  if (info.size > largestState) return { path, record: `${stateFileName} has ${info.size} bytes` };
  return { path, record: await parseRecord(new TextDecoder().decode(await readWhole(fs, statePath, largestState))) };
}

/**
 * Why a checkpoint cannot be used, or undefined when every file has its recorded size and CRC-32. All bytes are read;
 * processes that verify together each read a part.
 */
export async function damageOf(
  fs: FileSystem,
  { path, record }: Candidate,
  { rank, size, tell }: Pick<Together, "rank" | "size" | "tell">,
): Promise<string | undefined> {
  if (typeof record === "string") return record;
  const own: { damage?: string; sums: Summed[] } = { sums: [] };
  for (const [name, expected] of Object.entries(record.files)) {
    const filePath = join(path, name);
    const info = await infoOf(fs, filePath);
    if (info === undefined) own.damage ??= `${name} is missing`;
    else if (info.size !== expected.bytes) own.damage ??= `${name} has ${info.size} bytes instead of ${expected.bytes}`;
    else {
      const border = (r: number) => Math.floor((info.size * r) / size);
      own.sums.push(await sumOf(fs, filePath, border(rank), border(rank + 1)));
    }
  }
  const all = await tell(own);
  const told = all.find((one) => one.damage !== undefined)?.damage;
  if (told !== undefined) return told;
  const changed = Object.entries(record.files).find(([, { crc32 }], i) => {
    const whole = all.map((one) => one.sums[i]!).reduce(combined);
    return whole.crc32 !== crc32;
  });
  return changed && `the content of ${changed[0]} changed since it was written (CRC-32 mismatch)`;
}

async function sumOf(fs: FileSystem, path: string, from: number, to: number): Promise<Summed> {
  let sum = 0;
  for await (const piece of readPieces(fs, path, from, to)) sum = crc32(piece, sum);
  return { crc32: sum, bytes: to - from };
}

/** An unused name for a new checkpoint, since a folder cannot atomically replace another. */
export async function freePath(fs: FileSystem, folder: string, step: number): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const path = join(folder, attempt === 1 ? stepName(step) : `${stepName(step)}.${attempt}`);
    if ((await infoOf(fs, path)) === undefined) return path;
  }
}

/** Removes all but the `keep` newest usable checkpoints, and the leftovers of killed processes. */
export async function prune(fs: FileSystem, folder: string, keep: number): Promise<void> {
  const isUsable = ({ record }: Candidate) => typeof record !== "string";
  const candidates = await listCandidates(fs, folder);
  const kept = new Set(candidates.filter(isUsable).slice(0, keep));
  for (const candidate of candidates) if (!kept.has(candidate)) await removeCheckpoint(fs, candidate.path);
  await removeLeftovers(fs, folder);
}

/**
 * Of the checkpoint at `path` and the older ones, keeps the `keep` newest: a process may have been killed before it
 * removed the others.
 */
export async function pruneBefore(fs: FileSystem, folder: string, path: string, keep: number): Promise<void> {
  const candidates = await listCandidates(fs, folder);
  const at = candidates.findIndex((c) => c.path === path);
  if (at < 0) return;
  for (const older of candidates.slice(at + keep)) await removeCheckpoint(fs, older.path);
  await removeLeftovers(fs, folder);
}

/** Removes all checkpoints except those of the given steps, and returns the steps that remain. */
export async function keepSteps(fs: FileSystem, folder: string, steps: readonly number[]): Promise<number[]> {
  const kept: number[] = [];
  for (const { path, record } of await listCandidates(fs, folder)) {
    if (typeof record !== "string" && steps.includes(record.step)) kept.push(record.step);
    else await removeCheckpoint(fs, path);
  }
  if ((await infoOf(fs, folder)) !== undefined) await removeLeftovers(fs, folder);
  return kept;
}

/** Renames the folder first, atomically, so that a half-removed one is never taken for a checkpoint. */
async function removeCheckpoint(fs: FileSystem, path: string): Promise<void> {
  const removed = `${path}${removedSuffix}`;
  await fs.remove(removed);
  await fs.rename(path, removed);
}

/** Removes folders that were being written or removed. A run has only one writer, so none of them is in use. */
export async function removeLeftovers(fs: FileSystem, folder: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    const isLeftover = name.endsWith(partialSuffix) || name.endsWith(removedSuffix);
    if (!isLeftover || !folderPattern.test(name.replace(/\.[a-z]+$/, ""))) continue;
    const path = join(folder, name);
    await explainingFaults("remove", path, () => fs.remove(path));
  }
}
