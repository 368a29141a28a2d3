/** The report that `heddle train` leaves, and `heddle report`, which makes it again. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { heddle, modelFile, scratch } from "./support.ts";

const folder = scratch("report");
afterAll(() => folder.remove());
const job = modelFile("../support/job-with-settings.ts");
const train = (runs: string, ...args: readonly string[]) =>
  heddle("train", job, "--device", "cpu", "--runs", folder.at(runs), ...args);
const page = (runs: string) => readFileSync(folder.at(runs, "settled", "report.html"), "utf8");

it("is written at the end of a run, and again from its files alone", async () => {
  const { status, err } = await train("whole", "--set", "rate=0.002");
  expect(status).toBe(0);
  expect(err).toContain(`report: ${folder.at("whole", "settled", "report.html")}`);
  const text = page("whole");
  expect(text).toContain("Finished, after 4 of 4 steps.");
  expect(text).toContain("<h3>gradient_norm</h3>");
  expect(text).toContain("Trained parameters");
  expect(text).toContain("cosine from 0.003 to 0 over 8 steps, with 2 warmup steps");
  expect(text).toContain('<dt>Optimizer</dt><dd dir="auto">adamw');
  expect(text).toContain('<dt>rate</dt><dd dir="auto">0.002</dd>');
  rmSync(folder.at("whole", "settled", "report.html"));
  const again = await heddle("report", folder.at("whole", "settled"));
  expect(again).toMatchObject({ status: 0, out: `report: ${folder.at("whole", "settled", "report.html")}\n` });
  expect(page("whole")).toBe(text);
});

it("tells of every process of a run that failed and went on", async () => {
  expect((await train("resumed", "--set", "steps=6", "--set", "failsAt=3")).status).toBe(1);
  expect(page("resumed")).toContain("Ended by an error: batch 3 cannot be read, after 3 of 6 steps.");
  expect((await train("resumed", "--resume", "--set", "failsAt=-1")).status).toBe(0);
  const text = page("resumed");
  expect(text).toContain("Finished, after 6 of 6 steps.");
  expect(text).toContain("ended by an error: batch 3 cannot be read, ");
  expect(text.match(/<code>heddle/g)).toHaveLength(2);
});

it("is none of a run that failed before its first step", async () => {
  const { status, err } = await train("failed", "--set", "failsAt=0");
  expect(status).toBe(1);
  expect(err).not.toContain("report: ");
  expect(existsSync(folder.at("failed", "settled"))).toBe(false);
});

it("is refused for a folder that is no run's", async () => {
  const { status, err } = await heddle("report", folder.at());
  expect(status).toBe(1);
  expect(err).toContain("it is not a run's folder");
});
