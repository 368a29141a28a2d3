/**
 * How runs end that are asked to: saved, with the status that shells expect; and what of them a later process meets.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, expect, it } from "vitest";
import { loadNewestCheckpoint } from "../../runtime/index.ts";
import { heddle, modelFile, scratch } from "./support.ts";

const folder = scratch("endings");
afterAll(() => folder.remove());
const job = modelFile("../support/job-with-settings.ts");
const bin = modelFile("../../bin/heddle.js");

const children = new Set<ChildProcess>();
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
});

/** A run that goes on until it is ended, once it has done its first steps. */
async function running(runs: string, ...set: readonly string[]) {
  const settings = ["steps=1000000", "delay=5", ...set].flatMap((s) => ["--set", s]);
  const args = ["train", job, "--device", "cpu", "--runs", folder.at(runs), ...settings];
  const child = spawn(process.execPath, [bin, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  children.add(child);
  let err = "";
  child.stderr!.on("data", (text) => {
    err += String(text);
  });
  const at = folder.at(runs, "settled");
  while (!existsSync(`${at}/metrics.jsonl`) || readFileSync(`${at}/metrics.jsonl`, "utf8").split("\n").length < 4) {
    if (child.exitCode !== null) throw new Error(`the run ended: ${err}`);
    await sleep(20);
  }
  const ended = once(child, "close").then(([status]) => status as number | null);
  return { child, at, ended, said: () => err };
}

const saved = async (at: string): Promise<number | undefined> => {
  const loaded = await loadNewestCheckpoint(`${at}/checkpoints`, () => {});
  await loaded?.dispose();
  return loaded?.step;
};

const locks = (at: string) => readdirSync(at).filter((name) => name.startsWith(".lock-"));
const lines = (at: string) => readFileSync(`${at}/metrics.jsonl`, "utf8").trim().split("\n").length;

it("after an error from a timer a run is reported, saved and ends with 1", async () => {
  const { at, ended, said } = await running("timer", "throwsAt=20");
  expect(await ended).toBe(1);
  expect(said()).toMatch(/Error at .*job-with-settings\.ts:\d+:\d+: thrown from a timer\n/);
  expect(said()).toMatch(/stopped after step \d+ of 1000000, saved\. Resume with: /);
  expect(await saved(at)).toBe(lines(at));
});

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)(
  "at %s a run is saved and ends with %i",
  async (signal, status) => {
    const { child, at, ended } = await running(signal);
    child.kill(signal);
    expect(await ended).toBe(status);
    expect(await saved(at)).toBe(lines(at));
    expect(locks(at)).toEqual([]);
  },
  60_000,
);

it("a signal that comes twice at once, as to a process and its parent, is one request", async () => {
  const { child, at, ended } = await running("twice", "delay=100");
  child.kill("SIGHUP");
  setTimeout(() => child.kill("SIGHUP"), 10);
  expect(await ended).toBe(129);
  expect(await saved(at)).toBe(lines(at));
}, 60_000);

it("a closed stderr saves the run and ends it", async () => {
  const { child, at, ended } = await running("pipe", "checkpointEvery=1000000");
  child.stderr!.destroy();
  child.stdout!.destroy();
  expect(await ended).toBe(141);
  expect(await saved(at)).toBe(lines(at));
}, 60_000);

it("a second process on a run's folder says who has it, and changes nothing; one whose holder was killed goes on", async () => {
  const { child, at, ended } = await running("two", "checkpointMinutes=0.0001");
  const again = ["train", job, "--device", "cpu", "--runs", folder.at("two"), "--resume"];
  const second = await heddle(...again);
  expect(second.status).toBe(1);
  expect(second.err).toContain(`is in use: process ${child.pid} on this machine`);
  expect(second.err).toMatch(/since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/);
  expect(child.exitCode).toBeNull();
  child.kill("SIGKILL");
  await ended;
  expect(locks(at)).toHaveLength(1);
  writeFileSync(`${at}/summary.json.0123456789ab.tmp`, "half");
  const step = (await saved(at))!;
  const third = await heddle(...again, "--set", `steps=${step + 2}`);
  expect([third.status, third.err]).toEqual([0, expect.stringContaining(`resumed at step ${step}`)]);
  expect(lines(at)).toBe(step + 2);
  expect(readdirSync(at).filter((name) => name.endsWith(".tmp") || name.startsWith(".lock-"))).toEqual([]);
}, 60_000);

it("a run whose data fails is saved first", async () => {
  const ended = await heddle("train", job, "--device", "cpu", "--runs", folder.at("data"), "--set", "failsAt=3");
  expect(ended).toMatchObject({ status: 1, err: expect.stringContaining("batch 3 cannot be read") });
  expect(await saved(folder.at("data", "settled"))).toBe(3);
});

it("a start that failed leaves no run to resume", async () => {
  const train = (...more: readonly string[]) =>
    heddle("train", job, "--device", "cpu", "--runs", folder.at("failed"), ...more);
  expect((await train()).status).toBe(0);
  expect((await train("--set", "failsAt=0")).status).toBe(1);
  expect(readdirSync(folder.at("failed"))).toEqual(["settled"]);
  expect((await train("--resume", "--set", "steps=5")).err).toContain("resumed at step 4");
});

it("what a run is told of its data cannot command the terminal", async () => {
  const note = "broken\u001b]0;owned\u0007.png";
  const { err } = await heddle("train", job, "--device", "cpu", "--runs", folder.at("note"), "--set", `note=${note}`);
  expect(err).toContain("broken\\u{1b}]0;owned\\u{7}.png");
  expect(err).not.toContain("\u001b]0;");
});
