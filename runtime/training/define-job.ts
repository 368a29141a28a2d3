/** `defineJob`: the record that a job file exports, checked where it is written. */
import { didYouMean, UsageError } from "../../compiler/index.ts";
import type { JobFile, Setting } from "./job.ts";
import { requireBuilt } from "./job-rules.ts";

/** A job that `heddle train` can run. Throws one UsageError naming every missing or misspelt field. */
export function defineJob<C extends Readonly<Record<string, Setting>>>(job: Omit<JobFile<C>, "kind">): JobFile<C> {
  const { name, config, build } = (job ?? {}) as Partial<JobFile<C>>;
  const at = typeof name === "string" ? `the job "${name}"` : "a job";
  const known = Object.keys(jobFields);
  const faults = [
    ...(typeof name === "string" ? [] : ["a job needs `name`, a string"]),
    ...(typeof config === "object" && config !== null ? [] : [`${at} needs \`config\`, its settings with defaults`]),
    ...(typeof build === "function" ? [] : [`${at} needs \`build\`, a function from settings to a training`]),
    ...Object.keys(job ?? {})
      .filter((key) => !known.includes(key))
      .map((key) => `${at} has no field "${key}"${didYouMean(key, known) || `; it has ${known.join(", ")}`}`),
  ];
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
  return { kind: "heddle.job", ...job, build: async (settings) => requireBuilt(await job.build(settings), at) };
}

const jobFields: Readonly<Record<keyof JobFile, true>> = {
  kind: true,
  name: true,
  summary: true,
  config: true,
  rules: true,
  mayChange: true,
  build: true,
};
