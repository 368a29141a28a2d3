/** The folder that holds a run's checkpoints: which there are, which are whole, and removing old ones. */
import { crc32, join } from "#host";
import { explainingFaults } from "../file-errors.ts";
import type { FileSystem } from "../file-system.ts";
import { infoOf, readPieces, readWhole } from "../files.ts";
import { type CheckpointRecord, parseRecord, stateFileName } from "./state-file.ts";

/** A checkpoint folder. `record` is the reason, as text, when its state file cannot be used. */
export interface Candidate {
  readonly path: string;
  readonly record: CheckpointRecord | string;
}

/** `step-000123`, or `step-000123.2` where a step was saved again after resuming from before it. */
const folderPattern = /^step-\d+(\.\d+)?$/;
/** Folders on the way in or out. They are never read, and the next save removes what a killed process left. */
const partialSuffix = ".partial";
const removedSuffix = ".removed";

export const partialPath = (folder: string, step: number) => join(folder, `${stepName(step)}${partialSuffix}`);

/** A state file larger than this is none of ours. */
const largestState = 100_000_000;

export const stepName = (step: number) => `step-${String(step).padStart(6, "0")}`;

/** All checkpoints of a folder, those without a usable state file first, then by sequence, newest first. */
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

/** Why a checkpoint cannot be used, or undefined when every file is what was written. Reads all of its bytes. */
export async function damageOf(fs: FileSystem, { path, record }: Candidate): Promise<string | undefined> {
  if (typeof record === "string") return record;
  for (const [name, expected] of Object.entries(record.files)) {
    const filePath = join(path, name);
    const info = await infoOf(fs, filePath);
    if (info === undefined) return `${name} is missing`;
    if (info.size !== expected.bytes) return `${name} has ${info.size} bytes instead of ${expected.bytes}`;
    let sum = 0;
    for await (const piece of readPieces(fs, filePath)) sum = crc32(piece, sum);
    if (sum !== expected.crc32) return `the content of ${name} is not what was written (CRC-32 differs)`;
  }
  return undefined;
}

/** A name for a new checkpoint that no folder has, since one cannot replace another at one stroke. */
export async function freePath(fs: FileSystem, folder: string, step: number): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const path = join(folder, attempt === 1 ? stepName(step) : `${stepName(step)}.${attempt}`);
    if ((await infoOf(fs, path)) === undefined) return path;
  }
}

/** Removes all but the `keep` newest usable checkpoints, and what killed processes left. */
export async function prune(fs: FileSystem, folder: string, keep: number): Promise<void> {
  const isUsable = ({ record }: Candidate) => typeof record !== "string";
  const candidates = await listCandidates(fs, folder);
  const kept = new Set(candidates.filter(isUsable).slice(0, keep));
  for (const candidate of candidates) if (!kept.has(candidate)) await removeCheckpoint(fs, candidate.path);
  await removeLeftovers(fs, folder);
}

/** Of one checkpoint and those before it, removes all but the `keep` newest: a process may have been killed before it did. */
export async function pruneBefore(fs: FileSystem, folder: string, path: string, keep: number): Promise<void> {
  const candidates = await listCandidates(fs, folder);
  const at = candidates.findIndex((c) => c.path === path);
  if (at < 0) return;
  for (const older of candidates.slice(at + keep)) await removeCheckpoint(fs, older.path);
  await removeLeftovers(fs, folder);
}

/** Removes all checkpoints but those of some steps, and gives the steps of those that stay. */
export async function keepSteps(fs: FileSystem, folder: string, steps: readonly number[]): Promise<number[]> {
  const kept: number[] = [];
  for (const { path, record } of await listCandidates(fs, folder)) {
    if (typeof record !== "string" && steps.includes(record.step)) kept.push(record.step);
    else await removeCheckpoint(fs, path);
  }
  if ((await infoOf(fs, folder)) !== undefined) await removeLeftovers(fs, folder);
  return kept;
}

/** The folder first loses its name at one stroke, so that a half-removed one is never taken for a checkpoint. */
async function removeCheckpoint(fs: FileSystem, path: string): Promise<void> {
  const removed = `${path}${removedSuffix}`;
  await fs.remove(removed);
  await fs.rename(path, removed);
}

/** Removes folders on the way in or out; a run has one writer, so none of them is in use. */
export async function removeLeftovers(fs: FileSystem, folder: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    const isLeftover = name.endsWith(partialSuffix) || name.endsWith(removedSuffix);
    if (!isLeftover || !folderPattern.test(name.replace(/\.[a-z]+$/, ""))) continue;
    const path = join(folder, name);
    await explainingFaults("remove", path, () => fs.remove(path));
  }
}
