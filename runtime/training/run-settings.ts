/** The settings that a run started with, stored in its folder; a resumed run uses them again. */
import { join } from "#host";
import { UsageError } from "../../compiler/index.ts";
import { isRecord } from "../cached-file.ts";
import type { Json } from "../checkpoint/state-file.ts";
import { fileError } from "../file-errors.ts";
import { readText, writeFileAtomically } from "../files.ts";
import { beginAnew } from "../resume-hints.ts";
import type { JobFile, Setting } from "./job.ts";

export type Settings = Readonly<Record<string, Setting>>;

const fileName = "run.json";

export async function writeRunSettings(folder: string, job: string, settings: Settings): Promise<void> {
  await writeFileAtomically(join(folder, fileName), `${JSON.stringify({ job, settings }, null, 2)}\n`);
}

/** The settings of a run; undefined when none were stored. Throws FileError for a damaged file. */
export async function readRunSettings(folder: string): Promise<Settings | undefined> {
  const path = join(folder, fileName);
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    const { settings } = JSON.parse(text) as { readonly settings?: Json };
    if (isRecord(settings) && Object.values(settings).every(isSetting)) return settings as Settings;
  } catch {
    // reported below
  }
  throw fileError(path, "it does not contain the settings of a run", "remove it, and give all settings again");
}

const isSetting = (value: unknown): boolean => ["number", "string", "boolean"].includes(typeof value);

/** Settings that may change in any run: its length, and when it is saved. */
const mayChangeInAll = ["steps", "checkpointEvery", "checkpointMinutes"];

export interface ResumedSettings {
  readonly settings: Settings;
  /** Messages on what has changed. */
  readonly notes: readonly string[];
}

/**
 * The settings of a resumed run: the original ones, overridden by `given`. Throws one UsageError listing all given
 * settings that differ and may not change.
 */
export function resumedSettings(
  job: Pick<JobFile, "name" | "config" | "mayChange">,
  began: Settings,
  given: Settings,
): ResumedSettings {
  const mayChange = [...mayChangeInAll, ...(job.mayChange ?? [])].filter((key) => Object.hasOwn(job.config, key));
  const changed = Object.keys(given).filter((key) => Object.hasOwn(began, key) && began[key] !== given[key]);
  const told = (key: string) => `${key} was ${JSON.stringify(began[key])} and is now ${JSON.stringify(given[key])}`;
  const refused = changed.filter((key) => !mayChange.includes(key));
  if (refused.length > 0)
    throw new UsageError(
      `the run to resume has other settings: ${refused.map(told).join("; ")}\n  hint: resume it without these changes, or ${beginAnew}; ${
        mayChange.length > 0
          ? `these settings may change: ${mayChange.join(", ")}`
          : "no setting of this job may change"
      }`,
    );
  const known = Object.entries(began).filter(([key]) => Object.hasOwn(job.config, key));
  const gone = Object.keys(began).filter((key) => !Object.hasOwn(job.config, key));
  return {
    settings: { ...job.config, ...Object.fromEntries(known), ...given },
    notes: [
      ...changed.map((key) => `setting ${told(key)}: the change takes effect from here on`),
      ...gone.map((key) => `setting ${key} of the run no longer exists in ${job.name} and is ignored`),
    ],
  };
}
