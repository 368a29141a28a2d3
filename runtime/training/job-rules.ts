/** Validates training jobs at run time, since job files may be plain JavaScript. */
import { didYouMean, UsageError } from "../../compiler/index.ts";
import { isRecord } from "../cached-file.ts";
import { type Json, requireJson as requireStorable } from "../checkpoint/state-file.ts";
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
      isCount(n) ? [] : [`${name} must be an integer of at least 1, got ${n}`],
    ),
    ...(Number.isSafeInteger(seed) ? [] : [`seed must be an integer, got ${seed}`]),
    ...(checkpointMinutes === undefined || checkpointMinutes > 0
      ? []
      : [`checkpointMinutes must be a number above 0, got ${checkpointMinutes}`]),
  ];
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
}

const parts: readonly (readonly [name: string, needed: string, is: (x: unknown) => boolean])[] = [
  ["step", "the result of trainingStep", (x) => isRecord(x) && isRecord(x.graph) && Array.isArray(x.trained)],
  ["sizes", "an object of sizes by name, such as { batch: 32 }", isRecord],
  ["batches", "a function that yields batches, such as async function* () {}", isFunction],
  ["initial", "a function from a parameter's name to its tensor", isFunctionOrNone],
  [
    "report",
    "an array of strings",
    (x) => x === undefined || (Array.isArray(x) && x.every((t) => typeof t === "string")),
  ],
  ["listing", "a text that identifies the data", (x) => x === undefined || typeof x === "string"],
  ["model", "the graph of the whole model, as from trace", (x) => x === undefined || (isRecord(x) && "inputs" in x)],
  ["dispose", "a function", isFunctionOrNone],
  ["finish", "a function", isFunctionOrNone],
  [
    "validate",
    'an object with every, run and perhaps best: { metric, mode: "max" or "min" }',
    (x) => x === undefined || (isRecord(x) && isFunction(x.run) && (x.best === undefined || isBest(x.best))),
  ],
  [
    "next",
    "an array of stages, each with name and build",
    (x) => x === undefined || (Array.isArray(x) && x.every((stage) => isRecord(stage) && isFunction(stage.build))),
  ],
];

const isBest = (x: unknown): boolean =>
  isRecord(x) && typeof x.metric === "string" && (x.mode === "max" || x.mode === "min");

const fields: Readonly<Record<keyof TrainingJob, true>> = {
  step: true,
  steps: true,
  sizes: true,
  seed: true,
  checkpointEvery: true,
  checkpointMinutes: true,
  batches: true,
  ownRows: true,
  initial: true,
  model: true,
  checkpoints: true,
  listing: true,
  told: true,
  report: true,
  dispose: true,
  validate: true,
  finish: true,
  next: true,
};

function isFunction(x: unknown): boolean {
  return typeof x === "function";
}

function isFunctionOrNone(x: unknown): boolean {
  return x === undefined || isFunction(x);
}

/** Checks the job that a file's `build` returned. Throws one UsageError naming every invalid part. */
export function requireBuilt(built: unknown, what: string): TrainingJob {
  if (!isRecord(built))
    throw new UsageError(`${what}: build must return a training { step, steps, ... }, got ${wordsFor(built)}`);
  const known = Object.keys(fields);
  const faults = [
    ...parts.flatMap(([name, needed, is]) =>
      is(built[name]) ? [] : [`${what}: ${name} must be ${needed}, got ${wordsFor(built[name])}`],
    ),
    ...Object.keys(built).flatMap((key) =>
      known.includes(key)
        ? []
        : [`${what}: a training has no field "${key}"${didYouMean(key, known) || `; it has ${known.join(", ")}`}`],
    ),
  ];
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
  return built as unknown as TrainingJob;
}

/** Throws UsageError for an invalid batch, including one without `next`, from which a resume could not continue. */
export function requireBatch(batch: TrainingBatch, step: number): void {
  const fault =
    !isRecord(batch) || !isRecord(batch.feeds)
      ? `yielded ${isRecord(batch) ? `feeds that are ${wordsFor(batch.feeds)}` : wordsFor(batch)}`
      : canBeSaved(batch.next)
        ? undefined
        : `yielded a batch whose next is ${wordsFor(batch.next)}, which is not JSON`;
  if (fault !== undefined)
    throw new UsageError(
      `step ${step}: batches ${fault}; expected { feeds, next }: tensors by input name, and JSON that says where the data continues`,
    );
}

/**
 * The result of a job's function as JSON holds it; undefined if there is none. Numbers that are not finite become their
 * names, as in metrics.jsonl, and are noted. Throws UsageError for what JSON would drop or change otherwise.
 */
export function jsonResult(
  given: unknown,
  what: string,
  note: (text: string) => void,
): Readonly<Record<string, Json>> | undefined {
  if (given === undefined) return undefined;
  if (!isRecord(given))
    throw new UsageError(`${what} returned ${wordsFor(given)}; expected an object of results by name`);
  if (!isJson(given))
    throw new UsageError(`${what} returned an object that is not JSON: it contains a BigInt or a cycle`);
  const named = (path: string, number: number): string => {
    note(
      `${what} returned ${path} that is ${number}: it is written as the string "${number}", as JSON has no such number`,
    );
    return String(number);
  };
  const refused = (path: string, value: unknown) =>
    new UsageError(`${what} returned ${path} that is ${kindOf(value)}, which is not JSON`);
  return jsonOf(given, "", named, refused) as Readonly<Record<string, Json>>;
}

/** Undefined properties are left out, as JSON.stringify does. */
function jsonOf(
  value: unknown,
  path: string,
  named: (path: string, number: number) => string,
  refused: (path: string, value: unknown) => UsageError,
): Json {
  const within = (inner: unknown, at: string) => jsonOf(inner, at, named, refused);
  if (typeof value === "number") return Number.isFinite(value) ? value : named(path, value);
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (Array.isArray(value)) return value.map((one, i) => within(one, `${path}[${i}]`));
  if (typeof value !== "object") throw refused(path, value);
  if ("toJSON" in value && typeof value.toJSON === "function") return within(value.toJSON(), path);
  if (Object.prototype.toString.call(value) !== "[object Object]") throw refused(path, value); // a Map would be {}
  const given = Object.entries(value).filter(([, one]) => one !== undefined);
  return Object.fromEntries(given.map(([key, one]) => [key, within(one, path === "" ? key : `${path}.${key}`)]));
}

const kindOf = (value: unknown): string =>
  typeof value === "object" && value !== null ? `a ${value.constructor?.name ?? "record"}` : wordsFor(value);

function isJson(value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    return false;
  }
}

/** Whether a checkpoint can hold a value: NaN, which JSON.stringify makes null, would fail at the first save only. */
function canBeSaved(value: unknown): boolean {
  try {
    requireStorable(value);
    return true;
  } catch {
    return false;
  }
}

/** Throws UsageError for validation results that are not numbers. */
export function requireFigures(figures: unknown): void {
  const wrong = isRecord(figures) ? Object.entries(figures).find(([, x]) => typeof x !== "number") : undefined;
  if (isRecord(figures) && !wrong) return;
  const given = wrong ? `${quoted(wrong[0])} that is ${wordsFor(wrong[1])}` : wordsFor(figures);
  throw new UsageError(`validate.run returned ${given}; expected an object of numbers by name, such as { loss: 0.5 }`);
}

/** Describes a value of the wrong type, for messages. */
export function wordsFor(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "an array";
  if (typeof value === "string") return `the string ${quoted(value)}`;
  if (typeof value === "object") return "an object";
  if (typeof value === "function") return "a function";
  return `${typeof value} ${String(value)}`;
}
