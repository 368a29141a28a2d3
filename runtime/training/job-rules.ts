/** What the numbers of a training job must be, whoever made it. */
import { UsageError } from "../../compiler/index.ts";
import type { TrainingJob } from "./job.ts";

const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 1;

/** Throws one UsageError naming each number of a job with which it could not run. */
export function requireRunnable({
  steps,
  seed,
  checkpointEvery,
  checkpointMinutes,
  sizes,
  validate,
}: TrainingJob): void {
  const counts = { steps, checkpointEvery, ...(validate && { "validate.every": validate.every }), ...sizes };
  const faults = [
    ...Object.entries(counts).flatMap(([name, n]) =>
      isCount(n) ? [] : [`${name} is ${n}; needed is a whole number from 1`],
    ),
    ...(Number.isSafeInteger(seed) ? [] : [`seed is ${seed}; needed is a whole number`]),
    ...(checkpointMinutes === undefined || checkpointMinutes > 0
      ? []
      : [`checkpointMinutes is ${checkpointMinutes}; needed is a number above 0`]),
  ];
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
}
