/**
 * Jobs that are not what their file says: built of something else, thrown from a timer, never settled, or an end of
 * their own.
 */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { afterAll, expect, it, vi } from "vitest";
import { heddle, modelFile, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = scratch("unsettled");
afterAll(() => folder.remove());
const door = (path: string) => pathToFileURL(modelFile(path)).href;

/** A file with a job whose `build` is this. */
function jobFile(name: string, build: string): string {
  const path = folder.at(`${name}.ts`);
  writeFileSync(
    path,
    `import { defineJob } from "${door("../../runtime/index.ts")}";
import { tinyFeeds, tinyJob } from "${door("../support/tiny-job.ts")}";
export default defineJob({ name: "${name}", summary: "", config: {}, build: ${build} } as never);\n`,
  );
  return path;
}
const train = (path: string) => ["train", path, "--device", "cpu", "--runs", folder.at("runs")];

/** Batches of a job, as text. */
const batches = (one: string) =>
  `() => tinyJob(1, { batches: async function* () { for (;;) yield ${one}; } as never })`;

it.each([
  [
    "nothing",
    "() => undefined",
    'UsageError: the job "nothing": build must return a training { step, steps, ... }, got undefined',
  ],
  [
    "list",
    "() => ({ ...tinyJob(1), batches: [], report: 'x' })",
    /batches must be a function.*, got an array\n.*report must be an array of strings, got the string "x"/,
  ],
  ["empty", batches("null"), "UsageError: step 1: batches yielded null; expected { feeds, next }"],
  [
    "cursor",
    batches("{ feeds: tinyFeeds(0), cursor: 1 }"),
    "yielded a batch whose next is undefined, which is not JSON",
  ],
  ["big", batches("{ feeds: tinyFeeds(0), next: 5n }"), "yielded a batch whose next is bigint 5"],
  ["nan", batches("{ feeds: tinyFeeds(0), next: NaN }"), "step 1: batches yielded a batch whose next is number NaN"],
  [
    "figures",
    "() => tinyJob(1, { validate: { every: 1, run: async () => ({ loss: 'x' }) } as never })",
    'validate.run returned "loss" that is the string "x"; expected an object of numbers',
  ],
  ["sizes", "() => ({ ...tinyJob(1), sizes: undefined })", "sizes must be an object of sizes by name"],
  [
    "next",
    "() => tinyJob(1, { next: [{ name: 'b', build: () => null as never }] })",
    'the stage "b": build must return',
  ],
  [
    "listing",
    "() => tinyJob(1, { listing: 5 as never })",
    "listing must be a text that identifies the data, got number",
  ],
  [
    "model",
    "() => tinyJob(1, { model: 3 as never })",
    "model must be the graph of the whole model, as from trace, got",
  ],
  ["misspelt", "() => ({ ...tinyJob(1), validte: {} })", 'a training has no field "validte"; did you mean "validate"?'],
  [
    "mode",
    "() => tinyJob(1, { validate: { every: 1, run: async () => ({}), best: { metric: 'loss', mode: 'mim' } } as never })",
    /validate must be an object with every, run and perhaps best: \{ metric, mode: "max" or "min" \}/,
  ],
  ["start", "() => tinyJob(1, { initial: async () => 3 as never })", "is given an initial value that is not a tensor"],
  [
    "number",
    "() => tinyJob(1, { finish: async () => 4 as never })",
    "returned number 4; expected an object of results",
  ],
  ["finish", "() => tinyJob(1, { finish: async () => ({ a: 5n }) as never })", "returned an object that is not JSON"],
  [
    "map",
    "() => tinyJob(1, { finish: async () => ({ at: [{ top: new Map() }] }) as never })",
    "returned at[0].top that is a Map, which is not JSON",
  ],
  [
    "object",
    "() => Promise.reject({ code: 5, toString: null })",
    "{ code: 5, toString: null } was thrown, which is not an Error",
  ],
])("%s is told as the user's, with what is needed", async (name, build, says) => {
  const { status, err } = await heddle(...train(jobFile(name, build)));
  expect(err).toMatch(says);
  expect(err).not.toContain("heddle itself failed");
  expect(status).toBe(1);
});

it("a result that is no finite number is written by its name, and told", async () => {
  const path = jobFile("infinite", "() => tinyJob(1, { finish: async () => ({ of: { a: NaN }, b: [1, -Infinity] }) })");
  const { status, err } = await heddle(...train(path));
  expect([status, err]).toEqual([0, expect.stringContaining("returned of.a that is NaN: it is written as the string")]);
  expect(err).toContain("returned b[1] that is -Infinity");
  const summary = JSON.parse(readFileSync(folder.at("runs", "infinite", "summary.json"), "utf8"));
  expect(summary).toMatchObject({ of: { a: "NaN" }, b: [1, "-Infinity"] });
});

/** In a process of its own, since it may end there and then. */
async function alone(path: string) {
  const child = spawn(process.execPath, [modelFile("../../bin/heddle.js"), "inspect", path], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { err: await text(child.stderr), status: await closed };
}

it.each([
  ["never", "() => new Promise(() => {})", /^the command did not end, and nothing is left to wait for: .*\n {2}hint: /],
  ["exit", "() => process.exit(0)", /^the command did not end/],
  [
    "timer",
    "() => new Promise(() => setTimeout(() => { throw new Error('late'); }))",
    /^Error at .*timer\.ts:3:\d+: late\n/,
  ],
  [
    "unheard",
    "() => { void Promise.reject(new Error('unheard')); return new Promise(() => {}); }",
    /^Error at .*unheard\.ts:3:\d+: unheard\n/,
  ],
  [
    "unsaid",
    "() => { void Promise.reject(undefined); return new Promise(() => {}); }",
    /^undefined was thrown, which is not an Error/,
  ],
])("%s ends with one message and not with success", async (name, build, says) => {
  const { err, status } = await alone(jobFile(name, build));
  expect(err).toMatch(says);
  expect(err).not.toMatch(/Node\.js v|Warning|\n {4}at /);
  expect(status).toBe(1);
});
