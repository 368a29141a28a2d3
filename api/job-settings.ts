/** The settings of a job: validation, and those that a resumed run uses. */
import { didYouMean, UsageError } from "../compiler/index.ts";
import { checkSettings, count, kindOfValue, positive, type SettingRules, whole } from "../dsl/index.ts";
import { type JobFile, readRunSettings, resumedSettings, type Setting, type Settings } from "../runtime/index.ts";

/** Settings named as fields of a TrainingJob, or as the size that every job has, are what those must be. */
const usualRules: SettingRules = {
  steps: count,
  batch: count,
  checkpointEvery: count,
  checkpointMinutes: positive,
  seed: whole(0, Number.MAX_SAFE_INTEGER),
};

/** Throws one UsageError naming every invalid setting. */
export function checkJobSettings({ name, rules }: Pick<JobFile, "name" | "rules">, settings: Settings): void {
  checkSettings(name, settings, { ...usualRules, ...rules });
}

/** The settings that a call passes; undefined ones count as absent. */
export type GivenSettings = Readonly<Record<string, Setting | undefined>>;

/**
 * The settings to build a job with, and whether a resumed run's differ from those it `began` with. Throws UsageError
 * for settings that the job does not have, of the wrong type, that break a rule, or that may not change on resuming.
 */
export function settingsFor(
  job: Pick<JobFile, "name" | "config" | "mayChange" | "rules">,
  all: GivenSettings,
  began: Settings | undefined,
  say: (text: string) => void,
): { readonly settings: Settings; readonly isChanged: boolean } {
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Settings;
  requireSettings(job, given);
  const { settings, notes } = began
    ? resumedSettings(job, began, given)
    : { settings: { ...job.config, ...given }, notes: [] };
  checkJobSettings(job, settings);
  for (const note of notes) say(note);
  return { settings, isChanged: notes.length > 0 };
}

function requireSettings({ name, config }: Pick<JobFile, "name" | "config">, given: Settings): void {
  const known = Object.keys(config);
  const faults = Object.entries(given).flatMap(([key, value]) => {
    if (!known.includes(key))
      return [`${name} has no setting ${key}${didYouMean(key, known) || `; it has ${known.join(", ")}`}`];
    const kind = typeof config[key];
    return typeof value === kind ? [] : [`the setting ${key} of ${name} must be a ${kind}, got ${kindOfValue(value)}`];
  });
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
}

/** The settings of the run in `folder`, overridden by `given` where they may change; `say` receives what changed. */
export const settingsOfRun = async (
  job: JobFile,
  folder: string,
  given: Settings,
  say: (text: string) => void,
): Promise<Settings> => {
  const began = await readRunSettings(folder);
  if (began === undefined)
    say(`${folder} has no run.json, and so no settings of the run: those of the job and those given now are used`);
  return settingsFor(job, given, began, say).settings;
};
