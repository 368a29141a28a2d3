/**
 * Trainings that go on: what may be other than it was, what a run leaves that ended before its first step, and the
 * signal.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import * as h from "../../api/index.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-going-on-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const device = await h.openDevice("reference");

const [batch, point] = [h.axis("batch", "batch"), h.axis("point", 5)];
const values = (rows: number) =>
  h.hostTensor(
    "f32",
    [
      { name: "batch", size: rows },
      { name: "point", size: 5 },
    ],
    Float32Array.from({ length: 5 * rows }, (_, i) => (i % 5) + 1),
  );
interface StageChange extends Omit<Partial<h.Optimizer>, "rate"> {
  readonly rate?: number;
  readonly scale?: number;
}
const stageWith = ({ rate = 0.1, scale = 1, ...optimizer }: StageChange = {}) =>
  h.defineStage({
    name: "line",
    optimizer: { rate: h.constantRate(rate), ...optimizer },
    loss: (p) => {
      const x = h.input("x", "f32", [batch, point]);
      const off = h.sub(h.mul(x, p.parameter("slope", [], h.zeros)), x);
      return { loss: h.scale(h.mean(h.mean(h.mul(off, off), point), batch), scale) };
    },
  });

const unknown = { ...values(1), data: new Float32Array(5).fill(Number.NaN) };

/** The reference device computes in f64 and saves f32. */
function requireSameLosses(these: readonly h.LossPoint[], those: readonly h.LossPoint[]): void {
  expect(these).toHaveLength(those.length);
  for (const [i, { loss }] of these.entries()) expect(loss).toBeCloseTo(those[i]!.loss, 5);
}

let runs = 0;
const fresh = () => join(root, `${runs++}`);

interface Change extends StageChange {
  readonly steps?: number;
  readonly rows?: number;
  readonly seed?: number;
  readonly checkpointEvery?: number;
}

const train = (folder: string, change: Change = {}, options: Partial<h.TrainOptions> = {}) => {
  const { steps = 3, rows = 2, seed = 0, checkpointEvery = 100, ...ofStage } = change;
  const training = { stage: stageWith(ofStage), steps, seed, checkpointEvery, sizes: { batch: rows } };
  return h.train({ ...training, batch: () => ({ x: values(rows) }) }, { device, folder, ...options });
};

describe("the same call with other", () => {
  const folder = fresh();

  test.each<[string, Change, string]>([
    ["a rate", { rate: 0.2 }, "Learning rate was"],
    ["a decay", { weightDecay: 0.5 }, "Weight decay was 0.01 and is now 0.5"],
    ["several", { clip: 1, rows: 3 }, "batch was 2 and is now 3; Clipped at was nothing and is now 1"],
    ["a loss", { scale: 2 }, "its model, loss or optimizer changed"],
    ["a seed", { seed: 4 }, "has seed 0, but the job has 4"],
  ])("%s is refused", async (_, change, says) => {
    await train(folder);
    await expect(train(folder, { ...change, steps: 5 })).rejects.toThrow(says);
    await expect(train(folder, { ...change, steps: 5 })).rejects.toThrow(h.UsageError);
  });

  test("steps, or other steps between checkpoints, goes on", async () => {
    await train(folder);
    const { steps, losses } = await train(folder, { steps: 6, checkpointEvery: 2 });
    expect([steps, losses.length]).toEqual([6, 6]);
    requireSameLosses(losses, (await train(fresh(), { steps: 6 })).losses);
  });

  test("numbers begins anew where nothing was saved yet", async () => {
    const folder = fresh();
    const broken = { stage: stageWith({ rate: 0.3 }), steps: 1, sizes: { batch: 1 }, batch: () => ({ x: unknown }) };
    await expect(h.train(broken, { device, folder })).rejects.toThrow("lower the learning rate");
    expect((await train(folder)).losses).toHaveLength(3);
  });
});

describe("a job", () => {
  const job = h.defineJob({
    name: "line",
    summary: "a line",
    config: { steps: 2, rate: 0.1, batch: 2, decay: 0 },
    mayChange: ["decay"],
    async build({ steps, rate, batch, decay }) {
      const stage = stageWith({ rate, weightDecay: decay });
      const batches = async function* (cursor: unknown) {
        for (let next = Number(cursor ?? 0) + 1; ; next++) yield { feeds: { x: values(batch) }, next };
      };
      return { step: h.trainingStep(stage), steps, sizes: { batch }, seed: 1, checkpointEvery: 10, batches };
    },
  });
  const trained = (folder: string, settings?: object) =>
    h.train(job, { device, folder, ...(settings && { settings: settings as never }) });

  test("goes on with the settings that it began with, as on the command line", async () => {
    const folder = fresh();
    await trained(folder, { rate: 0.3 });
    await expect(trained(folder, { rate: 0.2 })).rejects.toThrow("rate was 0.3 and is now 0.2");
    const { losses } = await trained(folder, { steps: 4 });
    requireSameLosses(losses, (await trained(fresh(), { rate: 0.3, steps: 4 })).losses);
    expect(JSON.parse(readFileSync(join(folder, "run.json"), "utf8"))).toMatchObject({
      settings: { rate: 0.3, steps: 4 },
    });
    expect((await trained(folder, { steps: 5, decay: 0.1 })).steps).toBe(5); // the job lets it change
  });

  test.each([
    [{ rate: "0.1" }, "the setting rate of line must be a number, got the string"],
    [{ rat: 1 }, 'no setting rat; did you mean "rate"?'],
    [{ steps: 0 }, "steps"],
  ])("refuses settings (%#)", async (settings, says) => {
    await expect(trained(fresh(), settings)).rejects.toThrow(says);
  });

  test("takes a setting that is undefined as not given", async () => {
    expect((await trained(fresh(), { rate: undefined })).losses).toEqual((await trained(fresh())).losses);
  });
});

test("a signal that came before does no step, and the same call then trains", async () => {
  const folder = fresh();
  const { steps, stopped } = await train(folder, {}, { signal: AbortSignal.abort() });
  expect([steps, stopped]).toEqual([0, true]);
  const all = await train(folder);
  expect((await train(folder, {}, { signal: AbortSignal.abort() })).losses).toEqual(all.losses);
});

test.each([
  ["never comes", () => new Promise<never>(() => {})],
  [
    "is a request with the same signal",
    (signal: AbortSignal) => new Promise<never>((_, no) => signal.addEventListener("abort", () => no(signal.reason))),
  ],
])("a signal ends a wait for a batch that %s; the same call then goes on from the steps before", async (_, third) => {
  const folder = fresh();
  const controller = new AbortController();
  const training = { stage: stageWith(), steps: 5, sizes: { batch: 2 }, batch: () => ({ x: values(2) }) };
  const stuck = (step: number) => {
    if (step === 2) setTimeout(() => controller.abort(), 10);
    return step < 2 ? training.batch() : third(controller.signal);
  };
  const stopped = await h.train({ ...training, batch: stuck }, { device, folder, signal: controller.signal });
  expect([stopped.steps, stopped.stopped]).toEqual([2, true]);
  const { losses } = await h.train(training, { device, folder });
  requireSameLosses(losses, (await h.train(training, { device, folder: fresh() })).losses);
});

test("a batch that fails before the signal is reported", async () => {
  const failing = { stage: stageWith(), steps: 5, sizes: { batch: 2 }, batch: () => Promise.reject(new Error("mine")) };
  const { signal } = new AbortController();
  await expect(h.train(failing, { device, folder: fresh(), signal })).rejects.toThrow("mine");
});

test("a folder is free again after a training that failed before its first step", async () => {
  const folder = fresh();
  const failing = { stage: stageWith(), steps: 1, sizes: { batch: 1 }, batch: () => ({}) };
  await expect(h.train(failing, { device, folder })).rejects.toThrow('input "x"');
  expect((await train(folder)).losses).toHaveLength(3);
});
