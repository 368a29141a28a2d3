/**
 * Stages in a row: each from the weights of the one before, in folders of their own; one that is killed goes on in its
 * stage.
 */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { cosine, defineStage, trainingStep } from "../../dsl/index.ts";
import { stageOneLoss } from "../../models/index.ts";
import { openSafetensors, type TrainingJob, trainInStages } from "../../runtime/index.ts";
import { tinyConfig, tinyFeeds, tinyJob } from "../support/tiny-job.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-stages-"));
let backend: Backend;
beforeAll(async () => {
  backend = await cpuBackend({ threads: 1 });
});
afterAll(() => {
  backend.dispose();
  rmSync(root, { recursive: true });
});
let folders = 0;
const folder = () => mkdtempSync(join(root, `run${folders++}-`));

/** Told at moments of a run: "tiny batch 2", "heads finish". */
type Hear = (moment: string) => void;

/** The second stage trains the pooling alone: what is frozen comes from the first. */
function secondStage(): TrainingJob["step"] {
  return trainingStep(
    defineStage({
      name: "heads",
      loss: (p) => stageOneLoss(p, tinyConfig),
      trainable: ["clip_projector.**", "logit_scale"],
      optimizer: { rate: cosine({ peak: 1e-3, steps: 8, warmup: 2 }) },
    }),
  );
}

function heard(name: string, job: TrainingJob, hear: Hear): TrainingJob {
  return {
    ...job,
    async *batches(cursor) {
      for (let position = (cursor as number | undefined) ?? 0; ; position++) {
        hear(`${name} batch ${position}`);
        yield { feeds: tinyFeeds(position), next: position + 1 };
      }
    },
    finish: async ({ weights, losses, earlier }) => {
      hear(`${name} finish`);
      return { [name]: losses.length, tensors: weights.size, before: earlier.map((e) => e.name) };
    },
  };
}

const inStages = (hear: Hear = () => {}, steps = 5): TrainingJob => ({
  ...heard("tiny", tinyJob(steps), hear),
  next: [{ name: "heads", build: () => heard("heads", tinyJob(5, { step: secondStage() }), hear) }],
});

const options = (at: string, more: { readonly resume?: boolean; readonly signal?: AbortSignal } = {}) => ({
  folder: at,
  backend,
  deviceReason: "it is a test",
  note: () => {},
  ...more,
});

async function tensorsOf(at: string): Promise<Record<string, readonly number[]>> {
  await using reader = await openSafetensors(at);
  const names = [...reader.tensors.keys()];
  return Object.fromEntries(
    await Promise.all(names.map(async (n) => [n, [...(await reader.readTensor(n)).data]] as const)),
  );
}

const lossesOf = (at: string) =>
  readFileSync(join(at, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { step: number; loss: number })
    .map(({ step, loss }) => [step, loss]);

/** All that a run leaves, but for how long it took. */
const left = async (at: string) => ({
  first: [await tensorsOf(at), lossesOf(at)],
  second: [await tensorsOf(join(at, "heads")), lossesOf(join(at, "heads"))],
});

it("begin with the weights of the one before, and tell what each gave", async () => {
  const at = folder();
  const result = await trainInStages(inStages(), options(at));
  expect(result).toMatchObject({
    stopped: false,
    finished: { tiny: 5, heads: 5, before: ["tiny"] },
    stages: [
      { name: "tiny", folder: at, steps: 5 },
      { name: "heads", folder: join(at, "heads"), steps: 5 },
    ],
  });
  const [first, second] = [await tensorsOf(at), await tensorsOf(join(at, "heads"))];
  const changed = Object.keys(first).filter((n) => `${first[n]}` !== `${second[n]}`);
  expect(changed).toContain("logit_scale");
  expect(changed.filter((n) => !/^(clip_projector\.|logit_scale)/.test(n))).toEqual([]);
  // Its first loss is that of the first stage's weights: fresh ones give this batch and these draws what they gave
  // before.
  expect(Math.abs(lossesOf(join(at, "heads"))[0]![1]! - lossesOf(at)[0]![1]!)).toBeGreaterThan(0.1);
});

it("killed at any moment, go on in the stage that it was, and end bit for bit as if never killed", async () => {
  const at = folder();
  const moments = ["tiny batch 0", "tiny batch 3", "tiny finish", "heads batch 0", "heads batch 3", "heads finish"];
  const copies = new Map<string, string>();
  const hear: Hear = (moment) => {
    if (!moments.includes(moment)) return;
    copies.set(moment, folder());
    cpSync(at, copies.get(moment)!, { recursive: true }); // what kill -9 would leave on the disk
  };
  const whole = await trainInStages(inStages(hear), options(at));
  const expected = await left(at);
  expect([...copies.keys()]).toEqual(moments);
  for (const [moment, copy] of copies) {
    const again: string[] = [];
    const resumed = await trainInStages(
      inStages((m) => again.push(m)),
      options(copy, { resume: true }),
    );
    expect(await left(copy), moment).toEqual(expected);
    expect(resumed.stopped ? undefined : resumed.finished).toEqual(whole.stopped ? undefined : whole.finished);
    expect(again.some((m) => m.startsWith("tiny"))).toBe(moment.startsWith("tiny"));
    expect(existsSync(join(copy, "heads", "stage.json"))).toBe(true);
  }
}, 180_000);

it("stop when they are told to, in either stage, saved", async () => {
  for (const [moment, stage, most] of [
    ["tiny batch 2", "tiny", 3],
    ["tiny finish", "heads", 0],
    ["heads batch 1", "heads", 2],
  ] as const) {
    const at = folder();
    const stop = new AbortController();
    const hear: Hear = (m) => {
      if (m === moment) stop.abort();
    };
    const stopped = await trainInStages(inStages(hear), options(at, { signal: stop.signal }));
    expect(stopped).toMatchObject({ stopped: true, stage, of: 5 });
    // Batches are asked for ahead of their steps.
    expect(stopped.stopped && stopped.steps).toBeLessThanOrEqual(most);
    const resumed = await trainInStages(inStages(), options(at, { resume: true }));
    expect(resumed.stopped).toBe(false);
    expect(lossesOf(join(at, "heads"))).toHaveLength(5);
  }
}, 120_000);

it("say what is wrong with how they are to go on", async () => {
  const at = folder();
  await trainInStages(inStages(), options(at));
  const longer = trainInStages(inStages(undefined, 6), options(at, { resume: true }));
  await expect(longer).rejects.toThrow('stage "tiny" finished with 5 steps and would now have 6');
  writeFileSync(join(at, "stage.json"), "{");
  const damaged = trainInStages(inStages(), options(at, { resume: true }));
  await expect(damaged).rejects.toThrow('it does not record the end of stage "tiny"');
  for (const name of ["checkpoints", "best", "summary.json", "..", "a/b"]) {
    const job = { ...tinyJob(1), next: [{ name, build: () => tinyJob(1) }] };
    await expect(trainInStages(job, options(folder()))).rejects.toThrow(/invalid (job|stage) name/);
  }
}, 120_000);
