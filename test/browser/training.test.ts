/**
 * Training in real Chromium is training in Node: same losses, resumed after a reload, alone in its folder, in flat
 * memory.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { type LossPoint, train } from "../../runtime/index.ts";
import { softwareDevice } from "../support/adapter.ts";
import { type JobName, jobs } from "./jobs.ts";
import { browserTest, type OpenedPage } from "./support.ts";

type Page = typeof import("./pages/training.ts");

const folder = mkdtempSync(join(tmpdir(), "heddle-training-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** How far the losses of a run are from those of the same job in Node, at most; the steps are the same. */
async function apart(name: JobName, losses: readonly LossPoint[], steps: number): Promise<number> {
  const backend = webgpuBackend(await softwareDevice());
  const inNode = await train(jobs[name](steps), { folder: mkdtempSync(join(folder, name)), backend, note: () => {} });
  expect(losses.map((l) => l.step)).toEqual(Array.from({ length: steps }, (_, i) => i + 1));
  return Math.max(...losses.map((l, i) => Math.abs(l.loss - inNode.losses[i]!.loss)));
}

browserTest("20 steps have Node's losses", async ({ chromium }) => {
  const { call } = await chromium.open<Page>("training");
  const { losses } = await call("train", "vit", 20);
  expect(await apart("vit", losses, 20)).toBeLessThan(1e-5);
});

/** What breaks a run off, and what is to be done before it goes on. */
const breaks = {
  "a reload": async ({ page }: Training, running: Promise<string>) => {
    await page.reload();
    expect(await running).toContain("Error");
  },
  "a lost device": async ({ page, call }: Training, running: Promise<string>) => {
    await (await page.context().browser()!.newBrowserCDPSession()).send("Browser.crashGpuProcess");
    expect(await running).toMatch(/^DeviceLostError: the device on "google swiftshader" was lost/);
    await call("reopen");
  },
};
type Training = OpenedPage<Page>;

browserTest.for(["a reload", "a lost device"] as const)(
  "a run that %s broke off goes on from its checkpoint in OPFS",
  async (cause, { chromium }) => {
    const training = await chromium.open<Page>("training");
    const { call } = training;
    const running = call("failure", 1e6).catch(String);
    await expect.poll(() => call("stepsBegun"), { timeout: 50_000 }).toBeGreaterThan(60); // of which 50 are in a checkpoint
    await breaks[cause](training, running);
    const saved = await call("newestCheckpoint");
    expect(saved % 50).toBe(0);
    const steps = saved + 20;
    const before = await call("stepsRead");
    const { losses } = await call("train", "layer", steps, { resume: true });
    expect((await call("stepsRead")) - before).toBe(20);
    expect(await apart("layer", losses, steps)).toBeLessThan(1e-5);
  },
);

browserTest("the second of two windows is told that the first one has the run's folder", async ({ chromium }) => {
  const first = await chromium.open<Page>("training");
  const second = await chromium.open<Page>("training");
  await first.call("hold");
  expect(await second.call("failure", 2)).toMatch(/^UsageError: \/runs\/layer is in use: another window/);
  await first.page.close();
  await expect.poll(() => second.call("taken")).toEqual([]);
  expect(await second.call("failure", 2)).toBe("none");
});

browserTest("memory is flat over 200 steps", async ({ chromium }) => {
  const { call } = await chromium.open<Page>("training");
  const sampleAt = [40, 50, 60, 70, 80, 90, 100, 140, 150, 160, 170, 180, 190, 200];
  const { samples } = await call("train", "layer", 200, { sampleAt });
  expect(samples.map((s) => s.step)).toEqual(sampleAt);
  expect(new Set(samples.map((s) => s.device)).size).toBe(1);
  // What is on its way when a sample is taken is no leak: the least of several counts.
  const least = (some: typeof samples) => Math.min(...some.map((s) => s.heap));
  expect(least(samples.slice(7)) - least(samples.slice(0, 7))).toBeLessThan(400_000);
});
