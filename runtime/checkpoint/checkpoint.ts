/**
 * Training checkpoints: a folder for each, complete or absent. `<folder>/step-000123/` holds one safetensors file for
 * each group of tensors (model, optimizer ...) and `state.json`, which says what the files must be.
 */
import { dirname, fileSystem, join, resolve } from "#host";
import { UsageError } from "../../compiler/index.ts";
import { explainingFaults, fileError } from "../file-errors.ts";
import type { FileSystem } from "../file-system.ts";
import { type ByteSink, infoOf, type WriteOptions, writeAtomically, writeFileAtomically } from "../files.ts";
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
} from "./folders.ts";
import {
  type CheckpointRecord,
  formatRecord,
  groupFilePattern,
  type Json,
  requireJson,
  stateFileName,
} from "./state-file.ts";

/** What a run needs to go on. */
export interface CheckpointContent {
  /** Steps done so far. */
  readonly step: number;
  /** Anything JSON can hold: data cursor, random seed, loss scale ... */
  readonly state: Json;
  /** Tensors by group; each group becomes `<group>.safetensors`. */
  readonly groups: Readonly<Record<string, readonly TensorToWrite[]>>;
}

export interface SaveOptions extends WriteOptions {
  /** Keep this many newest checkpoints and remove older ones, once the new one is complete. Default: keep all. */
  readonly keep?: number;
}

/**
 * Saves a checkpoint and gives its path. It is written to a `.partial` folder, synced, and renamed: a process that is
 * killed at any moment leaves the checkpoints that were complete before. Throws FileError when writing fails or
 * `signal` aborts; nothing of the new checkpoint is left then. One process at a time may save to a folder.
 */
export async function saveCheckpoint(folder: string, content: CheckpointContent, options: SaveOptions = {}) {
  const fs = options.fs ?? fileSystem;
  const { keep } = options;
  if (keep !== undefined && !(Number.isSafeInteger(keep) && keep >= 1)) {
    throw new UsageError(`a run keeps 1 checkpoint or more, not ${keep}`);
  }
  requireContent(content);
  return await explainingFaults("write", folder, async () => {
    await makeFolder(fs, folder);
    await removeLeftovers(fs, folder);
    const path = await writeCheckpoint(fs, folder, content, options);
    if (keep !== undefined) await prune(fs, folder, keep);
    return path;
  });
}

/**
 * Ends what a killed process began: of the checkpoint that a run goes on from and those before it, all but the `keep` newest are
 * removed, and what was half written. Newer ones, which were passed over as damaged, stay.
 */
export async function pruneOlderCheckpoints(path: string, keep: number, fs: FileSystem = fileSystem): Promise<void> {
  const folder = dirname(path);
  await explainingFaults("write", folder, () => pruneBefore(fs, folder, path, keep));
}

async function makeFolder(fs: FileSystem, folder: string): Promise<void> {
  if ((await infoOf(fs, folder)) !== undefined) return;
  await fs.mkdir(folder);
  await fs.syncFolder(dirname(resolve(folder)));
}

function requireContent({ step, state, groups }: CheckpointContent): void {
  if (!Number.isSafeInteger(step) || step < 0) throw new UsageError(`a checkpoint's step cannot be ${step}`);
  requireJson(state);
  for (const group of Object.keys(groups)) {
    if (groupFilePattern.test(groupFile(group))) continue;
    throw new UsageError(`"${group}" cannot name a group of tensors: use small letters, digits, - and _`);
  }
}

const groupFile = (group: string) => `${group}.safetensors`;

async function writeCheckpoint(fs: FileSystem, folder: string, content: CheckpointContent, options: SaveOptions) {
  const partial = partialPath(folder, content.step);
  const path = await freePath(fs, folder, content.step);
  try {
    await fs.mkdir(partial);
    const record = await writeGroups(fs, folder, partial, content, options);
    await writeFileAtomically(join(partial, stateFileName), await formatRecord(record), options);
    await fs.rename(partial, path);
    await fs.syncFolder(folder);
    return path;
  } catch (error) {
    await fs.remove(partial).catch(() => {}); // the first error is the one to tell
    throw error;
  }
}

async function writeGroups(
  fs: FileSystem,
  folder: string,
  partial: string,
  { step, state, groups }: CheckpointContent,
  options: SaveOptions,
): Promise<CheckpointRecord> {
  const files: Record<string, Fingerprint> = {};
  for (const [group, tensors] of Object.entries(groups)) {
    const path = join(partial, groupFile(group));
    const fingerprint = { bytes: 0, crc32: 0 };
    const send = prepareSafetensors(path, tensors);
    await writeAtomically(path, (sink: ByteSink) => send(fingerprinting(sink, fingerprint)), options);
    files[groupFile(group)] = fingerprint;
  }
  const saved = (await listCandidates(fs, folder)).map(sequenceOf);
  return { sequence: Math.max(0, ...saved) + 1, step, files, state };
}

const sequenceOf = ({ record }: Candidate) => (typeof record === "string" ? 0 : record.sequence);

/** A checkpoint that was found whole. The caller disposes of the readers, or of the checkpoint, which does so. */
export interface LoadedCheckpoint {
  readonly path: string;
  readonly step: number;
  readonly state: Json;
  /** The tensors of each group, read on demand. */
  readonly groups: Readonly<Record<string, SafetensorsReader>>;
  dispose(): Promise<void>;
}

/**
 * Opens the checkpoint saved last, or gives undefined when there is none. Every byte is checked first; a damaged
 * checkpoint is told to `warn` and the one saved before it is taken. Throws FileError when all are damaged.
 */
export async function loadNewestCheckpoint(
  folder: string,
  warn: (message: string) => void,
  options: { readonly fs?: FileSystem } = {},
): Promise<LoadedCheckpoint | undefined> {
  const fs = options.fs ?? fileSystem;
  const candidates = await explainingFaults("read", folder, () => listCandidates(fs, folder));
  for (const candidate of candidates) {
    const damage = await explainingFaults("read", candidate.path, () => damageOf(fs, candidate));
    if (damage === undefined) return await openCheckpoint(fs, candidate.path, candidate.record as CheckpointRecord);
    warn(`${candidate.path} is damaged and was passed over: ${damage}`);
  }
  if (candidates.length === 0) return undefined;
  throw fileError(folder, `none of its ${candidates.length} checkpoints is whole`, "start the run again elsewhere");
}

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
