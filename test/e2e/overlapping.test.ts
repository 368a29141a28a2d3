/**
 * A loop whose steps overlap gives what one gives that waits for each, and what goes wrong has the right step's name.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { requestDevice } from "../../backends/webgpu/runtime/adapter.ts";
import { hostTensor } from "../../compiler/index.ts";
import { fileSystem, loadNewestCheckpoint, type TrainingJob, train } from "../../runtime/index.ts";
import { randomFeeds } from "../../runtime/training/random-feeds.ts";
import { writeInitialState } from "../../runtime/training/state.ts";
import { writtenWeights } from "../../runtime/training/written-weights.ts";
import hard from "../fuzz/training/job.ts";
import { systemFault } from "../runtime/support.ts";
import { gpuTest } from "../support/adapter.ts";
import { tinyJob } from "../support/tiny-job.ts";
import { watchingRuns } from "../support/watching-runs.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-overlapping-"));
afterAll(() => rmSync(root, { recursive: true }));
afterEach(() => void vi.restoreAllMocks());
let runs = 0;
const folder = () => mkdtempSync(join(root, `run${runs++}-`));
const note = () => {};
const metrics = (at: string): Record<string, number>[] =>
  readFileSync(join(at, "metrics.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

/** Each run is waited for before the next batch is touched. */
async function oneByOne(job: TrainingJob, backend: Backend) {
  const { graph, accumulation } = job.step;
  const store = backend.createStore();
  const executable = await backend.compile(graph, { sizes: job.sizes, fixed: true, precision: job.step.precision });
  const update = accumulation && (await backend.compile(accumulation.update, { sizes: job.sizes, fixed: true }));
  await writeInitialState(job, store);
  const random = randomFeeds(job);
  const losses: number[] = [];
  let micro = 0;
  for await (const { feeds } of job.batches(undefined, note)) {
    const outputs = await executable.run({ ...feeds, ...(await random.of(micro++)) }, store);
    if (micro % (accumulation?.count ?? 1) !== 0) continue;
    losses.push((update ? await update.run({}, store) : outputs).loss!.data[0]!);
    if (losses.length === job.steps) break;
  }
  await random.dispose();
  const weights = await writtenWeights(job, store);
  for (const held of [executable, update, store]) held?.dispose();
  return { losses, weights };
}

async function holds(backend: Backend) {
  const accumulated = await hard.build({ steps: 7, checkpointEvery: 3, delay: 0, validate: true });
  for (const job of [tinyJob(5), accumulated]) {
    const want = await oneByOne(job, backend);
    const got = await train(job, { folder: folder(), backend, note });
    expect(got.losses.map((l) => l.loss)).toEqual(want.losses);
    expect(got.weights).toEqual(want.weights);
  }
}

describe("a run has the losses and weights of steps done one by one", () => {
  it("on the reference", () => holds(referenceBackend()));
  it("on cpu", async () => {
    const backend = await cpuBackend({ threads: 1 });
    await holds(backend).finally(() => backend.dispose());
  });
  gpuTest("on webgpu", ({ gpu }) => holds(webgpuBackend(gpu)));
});

gpuTest("later steps are submitted before the figures of earlier ones are there", async ({ gpu }) => {
  const backend = webgpuBackend(gpu);
  const [at, seen] = [folder(), [] as number[]];
  const watched = watchingRuns(backend, () => seen.push(metrics(at).length));
  await train(tinyJob(8, { checkpointEvery: 100 }), { folder: at, backend: watched, note });
  expect(seen).toHaveLength(8);
  expect(seen.slice(0, 4)).toEqual([0, 0, 0, 0]);
  expect(metrics(at).map((m) => m.step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(metrics(at).every((m) => m.seconds! > 0)).toBe(true);
});

/** Checkpoints so far, by step, and the steps in the metrics. */
async function leftIn(at: string) {
  const loaded = await loadNewestCheckpoint(join(at, "checkpoints"), note);
  await loaded?.dispose();
  return { saved: loaded?.step, steps: metrics(at).map((m) => m.step) };
}

/** The batches of the tiny job; from the fourth on there is a NaN in the pixels. */
const nan: TrainingJob["batches"] = async function* (cursor, say) {
  for await (const batch of tinyJob(1).batches(cursor, say)) {
    const { axes, data } = batch.feeds.pixels!;
    const pixels = hostTensor(
      "f32",
      axes,
      data.map(() => Number.NaN),
    );
    yield Number(batch.next) < 4 ? batch : { ...batch, feeds: { ...batch.feeds, pixels } };
  }
};

/** No file takes any more that this is said of. */
function fullWhere(isFull: (path: string) => boolean): void {
  const { open } = fileSystem;
  vi.spyOn(fileSystem, "open").mockImplementation(async (path, flags, mode) => {
    const file = await open(path, flags, mode);
    const write = file.write.bind(file);
    file.write = async (...args: Parameters<typeof write>) => {
      if (isFull(path)) throw systemFault("ENOSPC");
      return await write(...args);
    };
    return file;
  });
}

describe("while steps overlap", () => {
  const job = (changes: Partial<TrainingJob>) => tinyJob(12, { checkpointEvery: 100, ...changes });
  const ended = (backend: Backend, at: string, changes: Partial<TrainingJob>) =>
    expect(train(job(changes), { folder: at, backend, note })).rejects;

  it("a NaN is of its own step, and nothing after it is written", async () => {
    const at = folder();
    await ended(referenceBackend(), at, { batches: nan, checkpointEvery: 2 }).toThrow(/^the loss of step 4 is NaN/);
    expect(await leftIn(at)).toEqual({ saved: 2, steps: [1, 2, 3] });
  });

  it("data that fails right behind a NaN saves nothing of it", async () => {
    const at = folder();
    const batches: TrainingJob["batches"] = async function* (cursor, say) {
      for await (const batch of nan(cursor, say)) {
        if (batch.next === 6) throw new Error("the shard cannot be read");
        yield batch;
      }
    };
    await ended(referenceBackend(), at, { batches }).toThrow(/^the loss of step 4 is NaN/);
    expect(await leftIn(at)).toEqual({ saved: undefined, steps: [1, 2, 3] });
  });

  it("data that fails is told when the steps before it are done and saved", async () => {
    const at = folder();
    const batches: TrainingJob["batches"] = async function* (cursor, say) {
      for await (const batch of tinyJob(1).batches(cursor, say)) {
        if (batch.next === 6) throw new Error("the shard cannot be read");
        yield batch;
      }
    };
    await ended(referenceBackend(), at, { batches }).toThrow("the shard cannot be read");
    expect(await leftIn(at)).toEqual({ saved: 5, steps: [1, 2, 3, 4, 5] });
  });

  it("a disk that is full ends the run in one message, with the checkpoint before it whole", async () => {
    const at = folder();
    let isFull = false;
    const { rename } = fileSystem;
    vi.spyOn(fileSystem, "rename").mockImplementation(async (from, to) => {
      await rename(from, to);
      isFull ||= to.endsWith("step-000003");
    });
    fullWhere((path) => isFull && path.includes("step-000006"));
    await ended(referenceBackend(), at, { checkpointEvery: 3 }).toThrow(
      /^cannot write .*step-000006.*: no space is left/,
    );
    vi.restoreAllMocks();
    expect((await leftIn(at)).saved).toBe(3);
    const resumed = await train(job({ checkpointEvery: 3 }), {
      folder: at,
      backend: referenceBackend(),
      resume: true,
      note,
    });
    expect(resumed.losses).toHaveLength(12);
  });

  it("figures that cannot be written end the run", async () => {
    const at = folder();
    let lines = 0;
    fullWhere((path) => path.endsWith("metrics.jsonl") && ++lines > 3);
    await ended(referenceBackend(), at, {}).toThrow(/metrics\.jsonl/);
    vi.restoreAllMocks();
    expect(await leftIn(at)).toEqual({ saved: undefined, steps: [1, 2, 3] });
  });

  gpuTest("a lost device ends the run in one message, with the checkpoint before it whole", async ({ gpu }) => {
    expect(gpu.adapter.software).toBe(true); // there is one: another is opened, to be lost
    const own = await requestDevice({ prefer: "software" });
    const at = folder();
    let given = 0;
    const losing = watchingRuns(webgpuBackend(own), () => {
      if (++given === 6) own.device.destroy();
    });
    await ended(losing, at, { checkpointEvery: 2 }).toThrow(/device/);
    own.dispose();
    expect((await leftIn(at)).saved).toBe(4);
    const resumed = await train(job({}), { folder: at, backend: referenceBackend(), resume: true, note });
    expect(resumed.steps).toBe(12);
  });
});
