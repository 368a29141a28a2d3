/** The settings of a job: by which rules they are checked, and which a resumed run has. */
import { checkSettings, count, positive, type SettingRules, whole } from "../dsl/index.ts";
import { type JobFile, readRunSettings, resumedSettings, type Settings } from "../runtime/index.ts";

/** Settings named as fields of a TrainingJob, or as the size that every job has, are what those must be. */
const usualRules: SettingRules = {
  steps: count,
  batch: count,
  checkpointEvery: count,
  checkpointMinutes: positive,
  seed: whole(0, Number.MAX_SAFE_INTEGER),
};

/** Throws one UsageError naming every setting that may not be what it is. */
export function checkJobSettings({ name, rules }: Pick<JobFile, "name" | "rules">, settings: Settings): void {
  checkSettings(name, settings, { ...usualRules, ...rules });
}

/** The settings of the run in `folder`, with `given` in their place where they may change; `say` is told what changed. */
export async function settingsOfRun(
  job: JobFile,
  folder: string,
  given: Settings,
  say: (text: string) => void,
): Promise<Settings> {
  const began = await readRunSettings(folder);
  if (began === undefined) return { ...job.config, ...given };
  const { settings, notes } = resumedSettings(job, began, given);
  checkJobSettings(job, settings);
  for (const note of notes) say(note);
  return settings;
}
