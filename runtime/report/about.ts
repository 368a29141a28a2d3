/** Metadata of a run for its report, written when it starts and ends: commands, versions, device, what is trained. */
import { join } from "#host";
import { isRecord } from "../cached-file.ts";
import { readText, writeFileAtomically } from "../files.ts";
import type { Fact } from "./section.ts";

/** One process of a run; a resumed run has several. */
export interface RunStart {
  /** ISO 8601. */
  readonly at: string;
  /** As typed, split into words. */
  readonly command: readonly string[];
  readonly versions: Readonly<Record<string, string | null>>;
  readonly device: string;
  /** Why that device was chosen. */
  readonly deviceReason: string;
  /** How the process ended; absent while it runs, or if it was killed. */
  readonly ended?: { readonly at: string; readonly how: string };
}

export interface RunAbout {
  readonly job: string;
  readonly summary: string;
  readonly seed: number;
  readonly steps: number;
  /** Facts of the training step: parameters, optimizer, precision. */
  readonly facts: readonly Fact[];
  readonly starts: readonly RunStart[];
}

export const aboutFile = "about.json";

/** Adds a process to a folder's run. */
export async function writeStart(folder: string, about: Omit<RunAbout, "starts">, start: RunStart): Promise<void> {
  const before = await readAbout(folder).catch(() => undefined); // a damaged file is rewritten
  await write(folder, { ...about, starts: [...(before?.starts ?? []), start] });
}

/** Records how the last added process ended. */
export async function writeEnd(folder: string, how: string): Promise<void> {
  const about = await readAbout(folder).catch(() => undefined);
  const last = about?.starts.at(-1);
  if (!about || !last) return;
  const ended = { ...last, ended: { at: new Date().toISOString(), how } };
  await write(folder, { ...about, starts: [...about.starts.slice(0, -1), ended] });
}

const write = (folder: string, about: RunAbout): Promise<void> =>
  writeFileAtomically(join(folder, aboutFile), `${JSON.stringify(about, null, 2)}\n`);

/** The metadata of a folder's run; undefined when there is none. Throws when the file has any other content. */
export async function readAbout(folder: string): Promise<RunAbout | undefined> {
  const about = await readJson(folder, aboutFile);
  if (about === undefined || isAbout(about)) return about;
  throw new TypeError("it is not a run's metadata");
}

/** Parses a JSON file in a run's folder; undefined when there is none. Throws when it does not parse. */
export async function readJson(folder: string, name: string): Promise<unknown> {
  const text = await readText(join(folder, name));
  return text === undefined ? undefined : JSON.parse(text);
}

const isText = (value: unknown): value is string => typeof value === "string";

const isAbout = (value: unknown): value is RunAbout =>
  isRecord(value) &&
  isText(value.job) &&
  isText(value.summary) &&
  [value.seed, value.steps].every((n) => typeof n === "number") &&
  Array.isArray(value.facts) &&
  value.facts.every(
    (f) => isRecord(f) && isText(f.label) && isText(f.value) && (f.note === undefined || isText(f.note)),
  ) &&
  Array.isArray(value.starts) &&
  value.starts.every(isStart);

const isStart = (value: unknown): boolean =>
  isRecord(value) &&
  [value.at, value.device, value.deviceReason].every(isText) &&
  Array.isArray(value.command) &&
  value.command.every(isText) &&
  isRecord(value.versions) &&
  Object.values(value.versions).every((v) => v === null || isText(v)) &&
  (value.ended === undefined || (isRecord(value.ended) && isText(value.ended.at) && isText(value.ended.how)));
