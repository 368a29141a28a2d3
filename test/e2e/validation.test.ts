/** Validation: figures of the weights that a run would write, in the logs, and the best of them kept. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { evaluate, referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { bindSizes, type Graph, makeGraph } from "../../compiler/index.ts";
import { constantRate, defineStage, rootParams, type Stage, trainingStep } from "../../dsl/index.ts";
import { stageOneLoss } from "../../models/index.ts";
import { openSafetensors, type TrainingJob, train, type Validation } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { readEvents } from "../support/event-files.ts";
import { tinyBatch, tinyConfig, tinyFeeds, tinyJob } from "../support/tiny-job.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-validation-"));
afterAll(() => rmSync(root, { recursive: true }));
let runs = 0;
const folder = () => mkdtempSync(join(root, `run${runs++}-`));

const lossGraph = (): Graph =>
  makeGraph("validation", [{ name: "loss", node: stageOneLoss(rootParams(), tinyConfig).loss }]);

const stage = (changes: Partial<Stage>) =>
  trainingStep(
    defineStage({
      name: "tiny",
      loss: (p) => ({ loss: stageOneLoss(p, tinyConfig).loss }),
      optimizer: { rate: constantRate(0.05) },
      ...changes,
    }),
    1000, // elements of an arena: there are several
  );

const jobOf = (steps: number, changes: Partial<Stage>, validate: Validation): TrainingJob =>
  tinyJob(steps, { step: stage(changes), validate, model: lossGraph() });

const linesOf = (at: string): Record<string, number>[] =>
  readFileSync(join(at, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

const kinds: Readonly<Record<string, Partial<Stage>>> = {
  "what is trained in whole": {},
  "what is trained in part": { trainable: ["qllama.**", "logit_scale"] },
  averages: { ema: { decay: 0.7 } },
  "low-rank updates": { lora: { pattern: ["**.self_attn.*", "**.attn.qkv"], rank: 3 } },
  "averages of low-rank updates": { lora: { pattern: "**.attn.qkv", rank: 2, alpha: 3 }, ema: { decay: 0.5 } },
};

/** A graph over the store gives what the weights give that the run would write, at their own names. */
async function sees(backend: Backend, changes: Partial<Stage>): Promise<void> {
  const graph = lossGraph();
  const feeds = tinyFeeds(1000);
  const seen: [number, number][] = [];
  const validate: Validation = {
    every: 2,
    run: async ({ evaluate: run, weights }) => {
      const all = new Map<string, Float64Array>();
      for (const [name, t] of [...Object.entries(feeds), ...(await weights())])
        all.set(name, Float64Array.from(t.data));
      const got = (await run(graph, feeds)).loss!.data[0]!;
      seen.push([got, evaluate(bindSizes(graph, { batch: tinyBatch }), all).get("loss")!.data[0]!]);
      return { loss: got };
    },
  };
  const at = folder();
  await train(jobOf(5, changes, validate), { folder: at, backend, note: () => {} });
  expect(seen).toHaveLength(3); // after steps 2, 4, and 5, the last
  for (const [got, want] of seen) expect(Math.abs(got - want) / want).toBeLessThan(2e-5);
  expect(new Set(seen.map(([got]) => got)).size).toBe(3);
  expect(linesOf(at).map((l) => l["validation/loss"])).toEqual([
    undefined,
    seen[0]![0],
    undefined,
    seen[1]![0],
    seen[2]![0],
  ]);
  const [file] = readdirSync(join(at, "events"));
  const shown = readEvents(join(at, "events", file!)).flatMap(({ step, summary }) =>
    (summary?.value ?? []).filter((v) => v.tag === "validation/loss").map((v) => [step, v.simpleValue]),
  );
  expect(shown).toEqual([2, 4, 5].map((step, i) => [step, Math.fround(seen[i]![0])]));
}

describe("validation is of", () => {
  it.each(Object.entries(kinds))("%s on the reference", (_, changes) => sees(referenceBackend(), changes));
  it.each(Object.entries(kinds))("%s on cpu", async (_, changes) => {
    const backend = await cpuBackend({ threads: 1 });
    await sees(backend, changes).finally(() => backend.dispose());
  });
  gpuTest("averages of low-rank updates on webgpu", ({ gpu }) =>
    sees(webgpuBackend(gpu), kinds["averages of low-rank updates"]!),
  );
});

describe("the best weights", () => {
  /** The figures are given; the weights are those of the steps. */
  const given = (values: readonly number[], mode: "max" | "min" = "max"): Validation => ({
    every: 1,
    run: async ({ step }) => ({ score: values[step - 1]! }),
    best: { metric: "score", mode },
  });
  const go = async (at: string, steps: number, values: readonly number[], mode?: "max" | "min", resume = false) => {
    const notes: string[] = [];
    const job = { ...jobOf(steps, { ema: { decay: 0.5 } }, given(values, mode)), checkpointEvery: 3 };
    const result = await train(job, { folder: at, backend: referenceBackend(), note: (t) => notes.push(t), resume });
    return { ...result, notes };
  };
  const kept = (at: string) => readdirSync(join(at, "best"));

  it.each([
    ["max", [1, 3, 3, 2, Number.NaN], 2],
    ["min", [4, -0.5, Number.NEGATIVE_INFINITY, -2, -2], 4],
    ["max", [Number.NaN, 1, 2, 3, 4], 5],
  ] as const)("are those of the first step with the %s of %j", async (mode, values, step) => {
    const at = folder();
    const { best } = await go(at, 5, values, mode);
    expect(best).toMatchObject({ step, value: values[step - 1], metric: "score", mode });
    expect(kept(at)).toEqual([`step-${String(step).padStart(6, "0")}`]);
    const weights = await openSafetensors(join(best!.folder, "model.safetensors"));
    const whole = await go(folder(), step, values, mode); // a run that ended there wrote these
    const stored = new Map<string, unknown>();
    for (const name of weights.tensors.keys()) stored.set(name, (await weights.readTensor(name)).data);
    await weights.dispose();
    expect(stored).toEqual(new Map([...whole.weights].map(([n, t]) => [n, Float32Array.from(t.data)])));
  });

  it("are not there where no figure is a number", async () => {
    const at = folder();
    expect((await go(at, 2, [Number.NaN, Number.NaN])).best).toBeUndefined();
    expect(linesOf(at).map((l) => l["validation/score"])).toEqual(["NaN", "NaN"]);
  });

  it("survive a resume: a later step must be better than what was best before", async () => {
    const at = folder();
    await go(at, 3, [1, 9, 2]);
    const resumed = await go(at, 5, [1, 9, 2, 8, 8.5], "max", true);
    expect(resumed.best).toMatchObject({ step: 2, value: 9 });
    expect(kept(at)).toEqual(["step-000002"]);
  });

  it("of a step that a killed run did not save are let go, and found again", async () => {
    const at = folder();
    const failing = jobOf(6, {}, given([5, 1, 1, 7, 1, 1]));
    const batches: TrainingJob["batches"] = () => failing.batches(undefined, () => {});
    const killed = new Error("killed");
    const validate: Validation = {
      ...failing.validate!,
      run: async (run) => {
        if (run.step === 5) throw killed;
        return await failing.validate!.run(run);
      },
    };
    const job = { ...failing, validate, batches, checkpointEvery: 3 };
    const options = { folder: at, backend: referenceBackend(), note: () => {} };
    await expect(train(job, options)).rejects.toThrow(killed);
    expect(kept(at)).toEqual(["step-000001", "step-000004"]); // the checkpoint of step 3 knows the first
    const again = await train({ ...failing, checkpointEvery: 3 }, { ...options, resume: true });
    expect(again.best).toMatchObject({ step: 4, value: 7 });
    expect(kept(at)).toEqual(["step-000004"]);
  });

  it("that somebody removed are told, and chosen anew", async () => {
    const at = folder();
    await go(at, 3, [1, 9, 2]);
    rmSync(join(at, "best"), { recursive: true });
    const resumed = await go(at, 5, [1, 9, 2, 3, 2], "max", true);
    expect(resumed.notes).toContain(`the best weights so far (step 2) are no longer in ${join(at, "best")}`);
    expect(resumed.best).toMatchObject({ step: 4, value: 3 });
  });

  it("by another metric are chosen anew", async () => {
    const at = folder();
    await go(at, 3, [1, 9, 2]);
    expect((await go(at, 4, [1, 9, 2, 5], "min", true)).best).toMatchObject({ step: 4, value: 5 });
    expect(kept(at)).toEqual(["step-000004"]);
  });
});

describe("a validation is refused", () => {
  const options = () => ({ folder: folder(), backend: referenceBackend(), note: () => {} });
  it("with a metric that it does not give", async () => {
    const validate: Validation = { every: 1, run: async () => ({ a: 1, b: 2 }), best: { metric: "c", mode: "max" } };
    await expect(train(jobOf(2, {}, validate), options())).rejects.toThrow(
      'validation returned a, b, but the best weights are chosen by "c"',
    );
  });

  it("every 0 or 1.5 steps", async () => {
    for (const every of [0, 1.5])
      await expect(train(jobOf(2, {}, { every, run: async () => ({}) }), options())).rejects.toThrow(
        `validate.every must be an integer of at least 1, got ${every}`,
      );
  });

  it("with a graph that changes state", async () => {
    const { graph } = stage({});
    const validate: Validation = {
      every: 1,
      run: async ({ evaluate: run }) => ({ n: Object.keys(await run(graph, {})).length }),
    };
    await expect(train(jobOf(2, {}, validate), options())).rejects.toThrow(/updates state, but a validation/);
  });
});
