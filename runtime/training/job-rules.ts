/** Validates training jobs at run time, since job files may be plain JavaScript. */
import { UsageError } from "../../compiler/index.ts";
import { isRecord } from "../cached-file.ts";
import { quoted } from "../file-errors.ts";
import type { TrainingBatch, TrainingJob } from "./job.ts";

const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 1;

/** Throws one UsageError naming every number of a job that is out of range. */
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

const parts: readonly (readonly [name: string, needed: string, is: (x: unknown) => boolean])[] = [
  ["step", "what trainingStep gives", (x) => isRecord(x) && isRecord(x.graph)],
  ["batches", "a function that gives batches one after the other, such as async function* () {}", isFunction],
  ["initial", "a function from a parameter's name to its tensor", isFunctionOrNone],
  ["report", "a list of texts", (x) => x === undefined || (Array.isArray(x) && x.every((t) => typeof t === "string"))],
  ["dispose", "a function", isFunctionOrNone],
  ["finish", "a function", isFunctionOrNone],
  ["validate", "a record with every and run", (x) => x === undefined || (isRecord(x) && isFunction(x.run))],
  [
    "next",
    "a list of stages, each with name and build",
    (x) => x === undefined || (Array.isArray(x) && x.every((stage) => isRecord(stage) && isFunction(stage.build))),
  ],
];

function isFunction(x: unknown): boolean {
  return typeof x === "function";
}

function isFunctionOrNone(x: unknown): boolean {
  return x === undefined || isFunction(x);
}

/** Checks the job that a file's `build` returned. Throws one UsageError naming every invalid part. */
export function requireBuilt(built: unknown, what: string): TrainingJob {
  if (!isRecord(built))
    throw new UsageError(`${what}: build gives ${wordsFor(built)}, and no training: { step, steps, ... }`);
  const faults = parts.flatMap(([name, needed, is]) =>
    is(built[name]) ? [] : [`${what}: ${name} is ${wordsFor(built[name])}; needed is ${needed}`],
  );
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
  return built as unknown as TrainingJob;
}

/** Throws UsageError for an invalid batch, including one without `next`, from which a resume could not continue. */
export function requireBatch(batch: TrainingBatch, step: number): void {
  const fault =
    !isRecord(batch) || !isRecord(batch.feeds)
      ? `gives ${isRecord(batch) ? `feeds that are ${wordsFor(batch.feeds)}` : wordsFor(batch)}`
      : isJson(batch.next)
        ? undefined
        : `gives a batch whose next is ${wordsFor(batch.next)}, which no file can keep`;
  if (fault !== undefined)
    throw new UsageError(
      `step ${step}: batches ${fault}; needed is { feeds, next }: tensors by the names of inputs, and JSON that says where the data goes on`,
    );
}

/** Checks that the return value of a job's function is JSON. Throws UsageError otherwise. */
export function requireJson<T>(given: T, what: string): T {
  if (given === undefined || isJson(given)) return given;
  throw new UsageError(`${what} gives ${wordsFor(given)}, which JSON does not hold: it has a BigInt or itself in it`);
}

function isJson(value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    return false;
  }
}

/** Throws UsageError for validation results that are not numbers. */
export function requireFigures(figures: unknown): void {
  const wrong = isRecord(figures) ? Object.entries(figures).find(([, x]) => typeof x !== "number") : undefined;
  if (isRecord(figures) && !wrong) return;
  const given = wrong ? `${quoted(wrong[0])} that is ${wordsFor(wrong[1])}` : wordsFor(figures);
  throw new UsageError(`validate.run gives ${given}; needed is a record of numbers by name, such as { loss: 0.5 }`);
}

function wordsFor(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return `the text ${quoted(value)}`;
  if (typeof value === "object") return "an object";
  if (typeof value === "function") return "a function";
  return `${typeof value} ${String(value)}`;
}
