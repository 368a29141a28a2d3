/**
 * A stage on records from the command line: with images and without, resumed to the bit, and ended by a value that does
 * not fit.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { heddle, modelFile, scratch, writePicture } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = scratch("records");
const boxOf = (i: number) => Array.from({ length: 1 + (i % 3) }, (_, j) => [0.1 * i, 0.2, 0.3, 0.1 * j]);
const record = (i: number) => ({ boxes: boxOf(i), certainty: 1 - 0.1 * i, question: `where is ${"it ".repeat(i)}?` });
const write = (name: string, records: readonly object[]) =>
  writeFileSync(folder.at(name), records.map((one) => `${JSON.stringify(one)}\n`).join(""));

beforeAll(async () => {
  const numbers = Array.from({ length: 5 }, (_, i) => i);
  await Promise.all(numbers.map((i) => writePicture(folder.at(`${i}.png`), 50 * i, 90, 200 - 30 * i)));
  write(
    "good.jsonl",
    numbers.map((i) => ({ image: `${i}.png`, ...record(i) })),
  );
  write(
    "bad.jsonl",
    numbers.map((i) => ({ image: `${i}.png`, ...record(i), ...(i === 3 && { boxes: [[1, 2, 3]] }) })),
  );
});
afterAll(() => folder.remove());

const train = (runs: string, data: string, ...more: string[]) => {
  const how = ["--device", "cpu", "--runs", folder.at(runs), "--set", "workers=0", "--json", ...more];
  const from = more.includes("--resume") ? [] : ["--data", folder.at(data)];
  return heddle("train", modelFile("own-boxes.ts"), "--stage", "boxes", ...from, ...how);
};
const weights = (runs: string) => readFileSync(folder.at(runs, "own-boxes-boxes", "model.safetensors"));

it("takes inputs by their names, and a resumed run is the same to the bit", async () => {
  const held = ["--validate", folder.at("good.jsonl")];
  const { status, err } = await train("runs", "good.jsonl", "--set", "checkpointEvery=2", ...held);
  expect([status, err]).toEqual([0, expect.stringContaining("good.jsonl: 1 list, weight 1, 5 samples")]);
  const metrics = readFileSync(folder.at("runs/own-boxes-boxes/metrics.jsonl"), "utf8");
  expect(metrics).toContain("validation/loss");
  const whole = weights("runs");
  for (const gone of ["summary.json", "model.safetensors", "checkpoints/step-000004"])
    rmSync(folder.at("runs/own-boxes-boxes", gone), { recursive: true });
  expect(await train("runs", "", "--resume")).toMatchObject({
    status: 0,
    err: expect.stringContaining("resumed at step 2"),
  });
  expect(weights("runs").equals(whole)).toBe(true);
});

it("reads records without images, and texts by the tokenizer", async () => {
  const { status, err } = await train("asked", "good.jsonl", "--set", "seen=0", "--set", "accumulate=2");
  expect([status, err]).toEqual([0, expect.stringContaining('texts of "question" are cut to 6 tokens')]);
});

it("ends with the line, field and axis of a value that does not fit", async () => {
  const { status, err } = await train("bad", "bad.jsonl");
  expect(status).toBe(1);
  expect(err).toContain(
    `${folder.at("bad.jsonl")}:4: "boxes"[0] has length 3; expected 4 along axis "coordinate" of input "boxes" f32[batch=batch, box=3, coordinate=4]`,
  );
});
