/** `defineJob`: the record that a job file exports, checked where it is written. */
import { didYouMean, UsageError } from "../../compiler/index.ts";
import type { JobFile, Setting } from "./job.ts";
import { requireBuilt, wordsFor } from "./job-rules.ts";

/** A job that `heddle train` can run. Throws one UsageError naming every missing or misspelt field. */
export function defineJob<C extends Readonly<Record<string, Setting>>>(job: Omit<JobFile<C>, "kind">): JobFile<C> {
  const { name, summary, config, build } = (job ?? {}) as Partial<JobFile<C>>;
  const at = typeof name === "string" ? `the job "${name}"` : "a job";
  const known = Object.keys(jobFields);
  const faults = [
    ...(typeof name === "string" ? [] : ["a job needs `name`, a string"]),
    ...(typeof summary === "string" ? [] : [`${at} needs \`summary\`, a sentence on what it trains`]),
    ...(typeof config === "object" && config !== null
      ? Object.entries(config).flatMap(([key, value]) =>
          isSetting(value)
            ? []
            : [`${at}: the setting "${key}" must be a number, a string or a boolean, got ${wordsFor(value)}`],
        )
      : [`${at} needs \`config\`, its settings with defaults`]),
    ...(typeof build === "function" ? [] : [`${at} needs \`build\`, a function from settings to a training`]),
    ...Object.keys(job ?? {})
      .filter((key) => !known.includes(key))
      .map((key) => `${at} has no field "${key}"${didYouMean(key, known) || `; it has ${known.join(", ")}`}`),
  ];
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
  return { kind: "heddle.job", ...job, build: async (settings) => requireBuilt(await job.build(settings), at) };
}

/** Whether a value can be saved in run.json, compared when the run is resumed, and set on the command line. */
const isSetting = (value: unknown): boolean =>
  typeof value === "string" || typeof value === "boolean" || (typeof value === "number" && !Number.isNaN(value));

const jobFields: Readonly<Record<keyof JobFile, true>> = {
  kind: true,
  name: true,
  summary: true,
  config: true,
  rules: true,
  mayChange: true,
  build: true,
};
