/** What training runs leave in their folders, and how two of them differ. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { readEvents } from "../../support/event-files.ts";

/** What all runs below a folder left, by their paths there. */
export const outcomesBelow = (root: string): Readonly<Record<string, unknown>> =>
  Object.assign({}, ...runsBelow(root).map((run) => named(relative(root, run), outcomeOf(run))));

const named = (run: string, outcome: object) =>
  Object.fromEntries(Object.entries(outcome).map(([key, value]) => [join(run, key), value]));

/** The folders with steps of their own: runs, and the later stages of a job in its run's folder. */
const runsBelow = (root: string): string[] =>
  filesBelow(root)
    .filter((file) => basename(file) === "metrics.jsonl")
    .map((file) => join(root, dirname(file)));

/**
 * What a run left: metrics of each step, the events that TensorBoard shows, the bytes of tensors, what it tells of its
 * data, and all file names.
 */
export function outcomeOf(folder: string) {
  const files = filesBelow(folder);
  return {
    "metrics.jsonl": readFileSync(join(folder, "metrics.jsonl"), "utf8").split("\n").map(withoutTime),
    events: shownEvents(join(folder, "events")),
    ...Object.fromEntries(
      files.filter((f) => f.endsWith(".safetensors")).map((f) => [f, readFileSync(join(folder, f)).toString("base64")]),
    ),
    "best/": statesIn(join(folder, "best")),
    "checkpoints/": statesIn(join(folder, "checkpoints")),
    ...(files.includes("data.json") && { "data.json": readFileSync(join(folder, "data.json"), "utf8") }),
    files: files.filter((f) => !/(^|\/)events\//.test(f)),
  };
}

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile())
    .map((f) => relative(folder, join(f.parentPath, f.name)))
    .sort();

/** A line without its step's duration, which differs from run to run. */
function withoutTime(line: string): unknown {
  if (line === "") return line;
  const { seconds, ...figures } = JSON.parse(line);
  return { ...figures, hasTime: typeof seconds === "number" };
}

const statesIn = (folder: string): unknown[] =>
  existsSync(folder) ? readdirSync(folder).map((step) => stateOf(join(folder, step))) : [];

/** A checkpoint's state, without the number of checkpoints before it and the checksums. */
function stateOf(folder: string): unknown {
  const { sequence, sha256, ...said } = JSON.parse(readFileSync(join(folder, "state.json"), "utf8"));
  return said;
}

/** Files are read in name order; a session that starts at a step hides earlier events of that step and later ones. */
function shownEvents(folder: string): unknown[] {
  let shown: { readonly step: number; readonly value: unknown }[] = [];
  for (const name of readdirSync(folder).sort())
    for (const { step = 0, sessionLog, summary } of readEvents(join(folder, name))) {
      if (sessionLog) shown = shown.filter((e) => e.step < step);
      if (summary) shown.push({ step, value: summary.value });
    }
  return shown;
}

export function differences(whole: object, other: object): string[] {
  const [a, b] = [whole, other] as readonly Record<string, unknown>[];
  return [...new Set([...Object.keys(a!), ...Object.keys(b!)])]
    .filter((key) => !isDeepStrictEqual(a![key], b![key]))
    .map((key) => {
      const text = (x: unknown) => JSON.stringify(x)?.slice(0, 2000);
      return key.endsWith(".safetensors")
        ? `${key} is not the same`
        : `${key} is ${text(b![key])} instead of ${text(a![key])}`;
    });
}
