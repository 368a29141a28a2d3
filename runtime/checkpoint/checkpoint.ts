/**
 * Training checkpoints: one folder each, complete or absent. `<folder>/step-000123/` holds a safetensors file for each
 * group of tensors (model, optimizer ...) and `state.json`, which records the size and CRC-32 of each file.
 */
import { dirname, fileSystem, join, resolve } from "#host";
import { UsageError } from "../../compiler/index.ts";
import { explainingFaults, fileError } from "../file-errors.ts";
import type { FileSystem } from "../file-system.ts";
import { type ByteSink, infoOf, type WriteOptions, writeAtomically, writeFileAtomically } from "../files.ts";
import { ownLayoutMark } from "../safetensors/own-layout.ts";
import { openSafetensors, type SafetensorsReader } from "../safetensors/reader.ts";
import { type Fingerprint, fingerprinting, prepareSafetensors, type TensorToWrite } from "../safetensors/writer.ts";
import {
  type Candidate,
  damageOf,
  freePath,
  listCandidates,
  partialPath,
  prune,
  pruneBefore,
  removeLeftovers,
  type Together,
} from "./folders.ts";
import { createShared, fingerprintOf, type SharedFile, type WrittenRun, writePieces } from "./shared-file.ts";
import {
  type CheckpointRecord,
  formatRecord,
  groupFilePattern,
  type Json,
  requireJson,
  stateFileName,
} from "./state-file.ts";

/** What a run needs to resume. */
export interface CheckpointContent {
  /** Steps done so far. */
  readonly step: number;
  /** Any JSON value: data cursor, random seed, loss scale ... */
  readonly state: Json;
  /** Tensors by group; each group becomes `<group>.safetensors`. */
  readonly groups: Readonly<Record<string, readonly TensorToWrite[]>>;
  /** Groups that several processes write together, each its own ranges. */
  readonly shared?: Readonly<Record<string, SharedFile>>;
}

export interface SaveOptions extends WriteOptions {
  /**
   * Keep this many of the newest checkpoints; older ones are removed once the new one is complete. Default: keep all.
   */
  readonly keep?: number;
}

/**
 * Saves a checkpoint and returns its path. It is written to a `.partial` folder, synced, and renamed, so a process that
 * is killed at any moment leaves the previous checkpoints intact. Throws FileError when writing fails or `signal`
 * aborts; nothing of the new checkpoint is left then. Only one process at a time may save to a folder.
 */
export async function saveCheckpoint(folder: string, content: CheckpointContent, options: SaveOptions = {}) {
  const fs = options.fs ?? fileSystem;
  const { keep } = options;
  if (keep !== undefined && !(Number.isSafeInteger(keep) && keep >= 1)) {
    throw new UsageError(`the number of checkpoints to keep must be at least 1, got ${keep}`);
  }
  requireContent(content);
  return await explainingFaults("write", folder, async () => {
    await makeFolder(fs, folder);
    await removeLeftovers(fs, folder);
    return await writeCheckpoint(fs, folder, content, options);
  });
}

/**
 * Finishes the cleanup that a killed process left undone: of the checkpoint at `path` and the older ones, keeps the
 * `keep` newest and removes the rest along with partial folders. Newer checkpoints, which were skipped as damaged,
 * stay.
 */
export async function pruneOlderCheckpoints(path: string, keep: number, fs: FileSystem = fileSystem): Promise<void> {
  const folder = dirname(path);
  await explainingFaults("write", folder, () => pruneBefore(fs, folder, path, keep));
}

/**
 * Like saveCheckpoint, but by several processes: each writes its ranges of the shared groups, and rank 0 writes
 * everything else. The checkpoint gets its final name only after everything is synced, so a process that is killed at
 * any moment leaves the previous checkpoints intact. Rank 0 provides all content except the other ranks' pieces; of the
 * other ranks only `shared` is used.
 */
export async function saveTogether(
  folder: string,
  content: CheckpointContent,
  together: Together,
  options: SaveOptions = {},
): Promise<void> {
  const fs = options.fs ?? fileSystem;
  const shared = Object.entries(content.shared ?? {});
  const partial = partialPath(folder, content.step);
  const headers = await together.decide(async () => {
    requireContent(content);
    await makeFolder(fs, folder);
    await removeLeftovers(fs, folder);
    await fs.mkdir(partial);
    const made: WrittenRun[] = [];
    for (const [group, file] of shared) made.push(await createShared(fs, join(partial, groupFile(group)), file));
    return made;
  });
  const own: WrittenRun[][] = [];
  for (const [group, file] of shared) own.push(await writePieces(fs, join(partial, groupFile(group)), file));
  const all = await together.tell(own);
  await together.decide(async () => {
    const files = shared.map(([group], i): [string, Fingerprint] => {
      const name = groupFile(group);
      return [name, fingerprintOf(join(partial, name), [headers[i]!, ...all.flatMap((runs) => runs[i]!)])];
    });
    await explainingFaults("write", folder, () => finish(fs, folder, content, Object.fromEntries(files), options));
    return null;
  });
}

async function makeFolder(fs: FileSystem, folder: string): Promise<void> {
  if ((await infoOf(fs, folder)) !== undefined) return;
  await fs.mkdir(folder);
  await fs.syncFolder(dirname(resolve(folder)));
}

function requireContent({ step, state, groups }: CheckpointContent): void {
  if (!Number.isSafeInteger(step) || step < 0)
    throw new UsageError(`a checkpoint's step must be a non-negative integer, got ${step}`);
  requireJson(state);
  for (const group of Object.keys(groups)) {
    if (groupFilePattern.test(groupFile(group))) continue;
    throw new UsageError(`invalid tensor group name "${group}": use lowercase letters, digits, - and _`);
  }
}

const groupFile = (group: string) => `${group}.safetensors`;

async function writeCheckpoint(fs: FileSystem, folder: string, content: CheckpointContent, options: SaveOptions) {
  await fs.mkdir(partialPath(folder, content.step));
  return await finish(fs, folder, content, {}, options);
}

/** Writes the remaining files and renames the folder to its final name. */
async function finish(
  fs: FileSystem,
  folder: string,
  content: CheckpointContent,
  there: Readonly<Record<string, Fingerprint>>,
  options: SaveOptions,
): Promise<string> {
  const partial = partialPath(folder, content.step);
  try {
    const path = await freePath(fs, folder, content.step);
    const record = await writeGroups(fs, folder, partial, content, there, options);
    await writeFileAtomically(join(partial, stateFileName), await formatRecord(record), options);
    await fs.rename(partial, path);
    await fs.syncFolder(folder);
    if (options.keep !== undefined) await prune(fs, folder, options.keep);
    return path;
  } catch (error) {
    await fs.remove(partial).catch(() => {}); // the first error is the one to report
    throw error;
  }
}

async function writeGroups(
  fs: FileSystem,
  folder: string,
  partial: string,
  { step, state, groups }: CheckpointContent,
  there: Readonly<Record<string, Fingerprint>>,
  options: SaveOptions,
): Promise<CheckpointRecord> {
  const files: Record<string, Fingerprint> = { ...there };
  for (const [group, tensors] of Object.entries(groups)) {
    const path = join(partial, groupFile(group));
    const fingerprint = { bytes: 0, crc32: 0 };
    const send = prepareSafetensors(path, tensors, ownLayoutMark);
    await writeAtomically(path, (sink: ByteSink) => send(fingerprinting(sink, fingerprint)), options);
    files[groupFile(group)] = fingerprint;
  }
  const saved = (await listCandidates(fs, folder)).map(sequenceOf);
  return { sequence: Math.max(0, ...saved) + 1, step, files, state };
}

const sequenceOf = ({ record }: Candidate) => (typeof record === "string" ? 0 : record.sequence);

/** A checkpoint that passed verification. The caller disposes of it, which closes the readers. */
export interface LoadedCheckpoint {
  readonly path: string;
  readonly step: number;
  readonly state: Json;
  /** The tensors of each group, read on demand. */
  readonly groups: Readonly<Record<string, SafetensorsReader>>;
  dispose(): Promise<void>;
}

/**
 * Opens the checkpoint saved last, or returns undefined when there is none. Every byte is verified first; a damaged
 * checkpoint is reported to `warn` and the one saved before it is used. Throws FileError when all are damaged.
 * Processes that load together each verify a part of the bytes.
 */
export async function loadNewestCheckpoint(
  folder: string,
  warn: (message: string) => void,
  options: { readonly fs?: FileSystem; readonly together?: Together } = {},
): Promise<LoadedCheckpoint | undefined> {
  const { fs = fileSystem, together = alone } = options;
  const candidates = await together.decide(() => explainingFaults("read", folder, () => listCandidates(fs, folder)));
  for (const candidate of candidates) {
    const damage = await explainingFaults("read", candidate.path, () => damageOf(fs, candidate, together));
    if (damage === undefined) return await openCheckpoint(fs, candidate.path, candidate.record as CheckpointRecord);
    warn(`${candidate.path} is damaged and was skipped: ${damage}`);
  }
  if (candidates.length === 0) return undefined;
  throw fileError(
    folder,
    `all of its ${candidates.length} checkpoints are damaged`,
    "start a new run in another folder",
  );
}

const alone: Together = { rank: 0, size: 1, decide: async (find) => await find(), tell: async (own) => [own] };

async function openCheckpoint(fs: FileSystem, path: string, record: CheckpointRecord): Promise<LoadedCheckpoint> {
  const groups: Record<string, SafetensorsReader> = {};
  const dispose = async () => {
    for (const reader of Object.values(groups)) await reader.dispose();
  };
  try {
    for (const name of Object.keys(record.files)) {
      groups[groupFilePattern.exec(name)![1]!] = await openSafetensors(join(path, name), { fs });
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return { path, step: record.step, state: record.state, groups, dispose };
}
