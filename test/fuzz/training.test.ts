/** A slice of `npm run fuzz:kills` and `npm run fuzz:growth`. */
import { appendFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { heddle, modelFile, scratch } from "../cli/support.ts";
import { growthOf } from "./training/growth.ts";
import { tryKills } from "./training/kills.ts";
import { differences, outcomeOf } from "./training/outcome.ts";

const tell = () => {};
const folder = scratch("killed");
afterAll(() => folder.remove());

test("runs that are killed end as one that is left alone", { timeout: 240_000 }, async () => {
  const report = await tryKills({ times: 3, device: "cpu", seed: 3, steps: 8, tell });
  expect(report.findings).toEqual([]);
  expect(report.kills).toBe(3);
  expect(report.inWrites).toBeGreaterThan(0);
});

test("a run takes no more with time", { timeout: 240_000 }, async () => {
  const backend = await cpuBackend({ threads: 1 });
  expect(await growthOf({ backend, steps: 200, tell }).finally(() => backend.dispose())).toEqual([]);
});

test("what a run has other than one left alone is found, whatever it is", async () => {
  const job = modelFile("../fuzz/training/job.ts");
  await heddle("train", job, "--device", "cpu", "--runs", folder.at(), "--set", "steps=3");
  const at = (...parts: string[]) => folder.at("hard", ...parts);
  const whole = outcomeOf(at());
  const found = () => differences(whole, outcomeOf(at())).map((d) => d.split(" is ")[0]);
  const spoiled = (path: string, change: (content: Buffer) => string | Uint8Array) => {
    const content = readFileSync(path);
    writeFileSync(path, change(content));
    const names = found();
    writeFileSync(path, content);
    return names;
  };
  expect(found()).toEqual([]);
  const lines = (change: (lines: string[]) => string[]) =>
    spoiled(at("metrics.jsonl"), (c) => change(String(c).split("\n")).join("\n"));
  expect(lines(([first, second, ...rest]) => [first!, second!, second!, ...rest])).toEqual(["metrics.jsonl"]);
  expect(lines(([, ...rest]) => rest)).toEqual(["metrics.jsonl"]);
  const events = at("events", readdirSync(at("events"))[0]!);
  const twice = (content: Buffer) => Buffer.concat([content, content]);
  expect(spoiled(events, twice)).toEqual(["events"]);
  expect(() => spoiled(events, (c) => c.subarray(0, -1))).toThrow();
  rmSync(events);
  expect(found()).toEqual(["events"]);
  appendFileSync(at("model.safetensors"), " ");
  writeFileSync(at("best", "step-000003", "state.json"), "{}");
  writeFileSync(at("x.tmp"), "");
  expect(found()).toEqual(["events", "model.safetensors", "best/", "files"]);
});
