/**
 * Training runs end to end: what a run leaves, how it stops, and that a resumed run is the run that was not stopped.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import {
  loadNewestCheckpoint,
  openSafetensors,
  saveCheckpoint,
  type TrainResult,
  tensorToWrite,
  train,
} from "../../runtime/index.ts";
import { tinyFeeds, tinyJob } from "../support/tiny-job.ts";
import { watchingRuns } from "../support/watching-runs.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-train-"));
afterAll(() => rmSync(root, { recursive: true }));
let runs = 0;
const folder = () => mkdtempSync(join(root, `run${runs++}-`));
const quiet = () => {};

/** Stops while a step is computed, as Ctrl-C does. */
async function trainStopping(backend: Backend, at: string, after: number): Promise<TrainResult> {
  const stop = new AbortController();
  let given = 0;
  const watched = watchingRuns(backend, () => {
    if (++given === after) stop.abort();
  });
  return await train(tinyJob(6), { folder: at, backend: watched, signal: stop.signal, note: quiet });
}

it("leaves weights that read back, metrics of every step and events", async () => {
  const at = folder();
  const result = await train(tinyJob(3), { folder: at, backend: referenceBackend(), note: quiet });
  expect(result.steps).toBe(3);
  expect(result.losses.map((l) => l.step)).toEqual([1, 2, 3]);
  const reader = await openSafetensors(result.weightsFile);
  const stored = await reader.readTensor("logit_scale");
  expect([...stored.data]).toEqual([...Float32Array.from(result.weights.get("logit_scale")!.data)]);
  await reader.dispose();
  expect(readFileSync(join(at, "metrics.jsonl"), "utf8").trim().split("\n")).toHaveLength(3);
});

it("a stopped and resumed run has the losses and weights of one that was not stopped", async () => {
  const backend = referenceBackend();
  const whole = await train(tinyJob(6), { folder: folder(), backend, note: quiet });
  const at = folder();
  const stopped = await trainStopping(backend, at, 3);
  expect(stopped).toMatchObject({ stopped: true, steps: 3 });
  expect(existsSync(join(at, "model.safetensors"))).toBe(false);
  const resumed = await train(tinyJob(6), { folder: at, backend, resume: true, note: quiet });
  // The interpreter computes in float64, and a checkpoint keeps f32: equal to f32's precision, not to the bit.
  expect(resumed.losses.map((l) => l.step)).toEqual([1, 2, 3, 4, 5, 6]);
  const apart = resumed.losses.map((l, i) => Math.abs(l.loss - whole.losses[i]!.loss));
  expect(Math.max(...apart)).toBeLessThan(1e-5);
});

it("a resumed run on the cpu device continues bit for bit", async () => {
  const backend = await cpuBackend({ threads: 1 });
  try {
    const whole = await train(tinyJob(6), { folder: folder(), backend, note: quiet });
    const at = folder();
    await trainStopping(backend, at, 3);
    const resumed = await train(tinyJob(6), { folder: at, backend, resume: true, note: quiet });
    expect(resumed.losses).toEqual(whole.losses);
    expect(resumed.weights).toEqual(whole.weights);
  } finally {
    backend.dispose();
  }
});

it("a loss that is not a number ends the run in one message, with the checkpoints before it whole", async () => {
  const at = folder();
  const job = tinyJob(6);
  const batches = async function* () {
    for (let i = 0; ; i++) {
      const feeds = tinyFeeds(i);
      const pixels =
        i === 2
          ? hostTensor(
              "f32",
              feeds.pixels.axes,
              feeds.pixels.data.map(() => Number.NaN),
            )
          : feeds.pixels;
      yield { feeds: { ...feeds, pixels }, next: i + 1 };
    }
  };
  await expect(train({ ...job, batches }, { folder: at, backend: referenceBackend(), note: quiet })).rejects.toThrow(
    /the loss of step 3 is NaN/,
  );
  const resumed = await train(tinyJob(3), { folder: at, backend: referenceBackend(), resume: true, note: quiet });
  expect(resumed.steps).toBe(3);
});

it("does not resume from state of another dtype", async () => {
  const [at, backend] = [folder(), referenceBackend()];
  await train(tinyJob(1), { folder: at, backend, note: quiet });
  const saved = (await loadNewestCheckpoint(join(at, "checkpoints"), quiet))!;
  const groups = Object.entries(saved.groups).map(async ([group, reader]) => {
    const read = [...reader.tensors.keys()].map((name) => reader.readTensor(name));
    const asIntegers = (t: HostTensor) => hostTensor("i32", t.axes, Int32Array.from(t.data));
    const tensors = (await Promise.all(read)).map((t, i) => (i === 0 && group === "model" ? asIntegers(t) : t));
    return [group, [...reader.tensors.keys()].map((name, i) => tensorToWrite(name, tensors[i]!))] as const;
  });
  const content = { step: saved.step, state: saved.state, groups: Object.fromEntries(await Promise.all(groups)) };
  await saved.dispose();
  await saveCheckpoint(join(at, "checkpoints"), content, { keep: 1 });
  const resumed = train(tinyJob(2), { folder: at, backend, resume: true, note: quiet });
  await expect(resumed).rejects.toThrow(/" is I32, but training state is stored as F32/);
});
