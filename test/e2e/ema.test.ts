/** Averages of the weights: right from the start value, after each step, and what a run writes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { inputName } from "../../compiler/index.ts";
import { constantRate, defineStage, type Stage, trainingStep } from "../../dsl/index.ts";
import { stageOneLoss } from "../../models/index.ts";
import { initialValue, openSafetensors, train } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { tinyConfig, tinyJob } from "../support/tiny-job.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-ema-"));
afterAll(() => rmSync(root, { recursive: true }));
let runs = 0;
const folder = () => mkdtempSync(join(root, `run${runs++}-`));

const stage = (changes: Partial<Stage>) =>
  defineStage({
    name: "tiny",
    loss: (p) => ({ loss: stageOneLoss(p, tinyConfig).loss }),
    trainable: ["qllama.**", "logit_scale"],
    optimizer: { rate: constantRate(0.02), weightDecay: 0.1 },
    ...changes,
  });
const decay = 0.7;
const ema = { ema: { decay } };
/** In arenas of at most 1000 elements, so that there are several. */
const job = (steps: number, changes: Partial<Stage> = ema) =>
  tinyJob(steps, { step: trainingStep(stage(changes), 1000) });
const run = (backend: Backend, steps: number, changes?: Partial<Stage>, at = folder(), resume = false) =>
  train(job(steps, changes), { folder: at, backend, note: () => {}, resume });

/**
 * Three steps with and without an average: the losses are the same, and the weights are the average of those of each
 * step.
 */
async function holds(backend: Backend): Promise<void> {
  const averaged = await run(backend, 3);
  const each = [await run(backend, 1, {}), await run(backend, 2, {}), await run(backend, 3, {})];
  expect(averaged.losses).toEqual(each[2]!.losses);
  const { trained, frozen, arenas } = job(1).step;
  expect(arenas.length).toBeGreaterThan(1);
  let furthest = 0;
  for (const node of trained) {
    const name = inputName(node);
    const expected = Float64Array.from(initialValue(node, 3).data);
    for (const { weights } of each)
      weights.get(name)!.data.forEach((v, i) => {
        expected[i]! += (1 - decay) * (v - expected[i]!);
      });
    const got = averaged.weights.get(name)!.data;
    const apart = Math.max(...expected.map((v, i) => Math.abs(v - got[i]!)));
    expect([name, apart < 1e-6]).toEqual([name, true]);
    furthest = Math.max(furthest, ...expected.map((v, i) => Math.abs(v - each[2]!.weights.get(name)!.data[i]!)));
  }
  expect(furthest).toBeGreaterThan(1e-2); // it is not the last step's weights
  for (const node of frozen)
    expect(averaged.weights.get(inputName(node))!.data).toEqual(each[0]!.weights.get(inputName(node))!.data);
}

describe("an average of the weights", () => {
  it("is by formula on the reference", () => holds(referenceBackend()), 60_000);
  it("is by formula on cpu", async () => {
    const backend = await cpuBackend({ threads: 1 });
    await holds(backend).finally(() => backend.dispose());
  }, 60_000);
  gpuTest("is by formula on webgpu", ({ gpu }) => holds(webgpuBackend(gpu)), 120_000);

  it("is what the file of the run has; the checkpoint has both, and a resumed run goes on bit for bit", async () => {
    const backend = await cpuBackend({ threads: 1 });
    const whole = await run(backend, 4);
    const at = folder();
    await run(backend, 2, ema, at);
    const resumed = await run(backend, 4, ema, at, true);
    expect(resumed.losses).toEqual(whole.losses);
    expect(resumed.weights).toEqual(whole.weights);
    const reader = await openSafetensors(resumed.weightsFile);
    expect([...(await reader.readTensor("logit_scale")).data]).toEqual([...whole.weights.get("logit_scale")!.data]);
    await reader.dispose();
    backend.dispose();
  });

  it("is not made up for a run that had none", async () => {
    const [backend, at] = [referenceBackend(), folder()];
    await run(backend, 1, {}, at);
    await expect(run(backend, 2, ema, at, true)).rejects.toThrow("it has no average tensors");
  });

  it.each([1, -0.1, Number.NaN])("has no decay of %d", (wrong) => {
    expect(() => job(1, { ema: { decay: wrong } })).toThrow(
      `stage "tiny": the decay of ema must be at least 0 and below 1, such as 0.999, got the number ${wrong}`,
    );
  });

  it("of low-rank updates is merged like them", async () => {
    const { weights } = await run(referenceBackend(), 2, { ...ema, lora: { pattern: "**.q_proj", rank: 2 } });
    expect([...weights.keys()].filter((n) => n.includes("lora"))).toEqual([]);
    const name = "qllama.model.layers.0.self_attn.q_proj.weight";
    const node = job(1).step.trained.find((n) => inputName(n) === name)!;
    expect(weights.get(name)!.data).not.toEqual(initialValue(node, 3).data);
  });
});
