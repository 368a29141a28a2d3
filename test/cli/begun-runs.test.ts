/** Runs that end before their first checkpoint: resumed from the weights that they were to start from. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import type { FileSystem } from "../../runtime/file-system.ts";
import { fileSystem } from "../../runtime/host/node-host.ts";
import { colourData } from "./colour-data.ts";
import { heddle, modelFile, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 300_000 }); // several runs each, on a machine that may be busy

const folder = scratch("begun-runs");
beforeAll(() => colourData(folder));
afterAll(() => folder.remove());

const sets = (settings: object) => Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);

/** Trains everything in a small model, of which no weight is frozen. */
async function train(stage: string, runs: string, ...more: string[]) {
  const settings = sets({ batch: 4, steps: 2, rate: 1e-2, resolution: 16, workers: 0 });
  const where = ["--data", folder.at("pairs"), "--device", "cpu", "--runs", folder.at(runs)];
  return await heddle("train", modelFile("tiny-model.ts"), "--stage", stage, ...where, ...settings, ...more);
}

const losses = (run: string) =>
  readFileSync(folder.at(run, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).loss);

it("goes on from --from where it was killed before its first checkpoint", async () => {
  expect(await train("1.1", "runs")).toMatchObject({ status: 0 });
  expect(await train("1.2", "runs", "--from", folder.at("runs/tiny-1.1"))).toMatchObject({ status: 0 });
  const whole = losses("runs/tiny-1.2");
  for (const gone of ["summary.json", "model.safetensors", "checkpoints"])
    rmSync(folder.at("runs/tiny-1.2", gone), { recursive: true });
  const { status, err } = await train("1.2", "runs", "--resume");
  expect([status, err]).toEqual([0, expect.stringContaining(`from ${folder.at("runs/tiny-1.1")}`)]);
  expect(err).toContain("no checkpoint found: starting from the beginning");
  expect(losses("runs/tiny-1.2")).toEqual(whole);

  // With a checkpoint, all weights are in it, and their source may be gone.
  rmSync(folder.at("runs/tiny-1.2/summary.json"));
  rmSync(folder.at("runs/tiny-1.1"), { recursive: true });
  expect(await train("1.2", "runs", "--resume", "--set", "steps=3")).toMatchObject({ status: 0 });
});

it("leaves no run to resume where it ends before it is known where it starts from", async () => {
  expect(await train("1.1", "others")).toMatchObject({ status: 0 });
  const watched = fileSystem as { -readonly [K in keyof FileSystem]: FileSystem[K] };
  const { rename, remove } = fileSystem;
  const stopping = vi.spyOn(watched, "rename").mockImplementation(async (from, to) => {
    await rename(from, to);
    // As if killed here: what follows is not done, cleaning up neither.
    if (to.endsWith("sources.json")) throw new Error("killed");
  });
  const still = vi.spyOn(watched, "remove").mockImplementation(async () => {});
  expect(await train("1.2", "others", "--from", folder.at("others/tiny-1.1"))).not.toMatchObject({ status: 0 });
  stopping.mockRestore();
  still.mockRestore();
  expect(fileSystem.remove).toBe(remove);
  expect(existsSync(folder.at("others/tiny-1.2/sources.json"))).toBe(true);
  const refused = await train("1.2", "others", "--resume");
  expect(refused).toMatchObject({ status: 1, err: expect.stringContaining("there is no run to resume") });
});
