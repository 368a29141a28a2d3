/** Training in real Chromium is training in Node: same losses, resumed after a reload, alone in its folder, in flat memory. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { train } from "../../runtime/index.ts";
import { softwareDevice } from "../support/adapter.ts";
import { tinyJob } from "../support/tiny-job.ts";
import { browserTest } from "./support.ts";

type Page = typeof import("./pages/training.ts");

const folder = mkdtempSync(join(tmpdir(), "heddle-training-"));
afterAll(() => rmSync(folder, { recursive: true }));

browserTest("20 steps have Node's losses, across a reload in the middle", async ({ chromium }) => {
  const { page, call } = await chromium.open<Page>("training");
  void call("train", "tiny", 1000).catch(() => undefined);
  await expect.poll(() => call("stepsBegun"), { timeout: 50_000 }).toBeGreaterThan(8);
  await page.reload();
  const { losses } = await call("train", "tiny", 20, { resume: true });
  const backend = webgpuBackend(await softwareDevice());
  const inNode = await train(tinyJob(20), { folder, backend, note: () => {} });
  expect(losses.map((l) => l.step)).toEqual(inNode.losses.map((l) => l.step));
  const apart = losses.map((l, i) => Math.abs(l.loss - inNode.losses[i]!.loss));
  expect(Math.max(...apart)).toBeLessThan(1e-5);
});

browserTest("the second of two windows is told that the first one has the run's folder", async ({ chromium }) => {
  const first = await chromium.open<Page>("training");
  const second = await chromium.open<Page>("training");
  await first.call("hold");
  expect(await second.call("failure", 2)).toMatch(/^UsageError: \/runs\/small is in use: another window/);
  await first.page.close();
  await expect.poll(() => second.call("taken")).toEqual([]);
  expect(await second.call("failure", 2)).toBe("none");
});

browserTest("memory is flat over 200 steps", async ({ chromium }) => {
  const { call } = await chromium.open<Page>("training");
  const sampleAt = [40, 50, 60, 70, 80, 90, 100, 140, 150, 160, 170, 180, 190, 200];
  const { samples } = await call("train", "small", 200, { sampleAt });
  expect(samples.map((s) => s.step)).toEqual(sampleAt);
  expect(new Set(samples.map((s) => s.device)).size).toBe(1);
  // What is on its way when a sample is taken is no leak: the least of several counts.
  const least = (some: typeof samples) => Math.min(...some.map((s) => s.heap));
  expect(least(samples.slice(7)) - least(samples.slice(0, 7))).toBeLessThan(400_000);
});
