/** A training run's precision: what is said of it, what a checkpoint keeps of it, and gradients that are not finite. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { evaluate, referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { hostTensor, inputName, makeGraph, type SizedAxis } from "../../compiler/index.ts";
import {
  axis,
  constantInit,
  constantRate,
  defineStage,
  input,
  linearRate,
  mean,
  mul,
  type Params,
  precisionNamed,
  type Stage,
  sqrt,
  sum,
  trainingStep,
  uniform,
} from "../../dsl/index.ts";
import { adaptedScale, isFiniteNorm } from "../../dsl/optim/loss-scale.ts";
import { stageOneLoss } from "../../models/index.ts";
import { loadNewestCheckpoint, type TrainingJob, train } from "../../runtime/index.ts";
import { heddle } from "../cli/support.ts";
import { gpuTest } from "../support/adapter.ts";
import { tinyConfig, tinyJob } from "../support/tiny-job.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-half-"));
afterAll(() => rmSync(root, { recursive: true }));
let runs = 0;
const folder = () => mkdtempSync(join(root, `run${runs++}-`));
const quiet = () => {};

const stage = (changes: Partial<Stage> = {}): Stage =>
  defineStage({
    name: "tiny",
    loss: (p) => ({ loss: stageOneLoss(p, tinyConfig).loss }),
    optimizer: { rate: constantRate(1e-3), clip: 1 },
    ...changes,
  });
const jobOf = (changes: Partial<Stage>, steps: number) => tinyJob(steps, { step: trainingStep(stage(changes)) });

describe("a run in f16", () => {
  it("says what it is computed in, and is no other run for being resumed", async () => {
    const [at, notes] = [folder(), [] as string[]];
    const backend = referenceBackend();
    await train(jobOf({ precision: "f16" }, 2), { folder: at, backend, note: (t) => notes.push(t) });
    expect(notes[0]).toBe(
      "precision: f32, because the interpreter computes in f64, whatever precision is requested; parameters, gradients and optimizer in f32, a loss scale that adapts, from 1024",
    );
    const go = (changes: Partial<Stage>) =>
      train(jobOf(changes, 4), { folder: at, backend, resume: true, note: quiet });
    await expect(go({})).rejects.toThrow(
      "the run to resume computes in f16 with a loss scale that adapts, but the job in f32: resume with the original precision",
    );
    await expect(go({ precision: "f16", lossScale: 512 })).rejects.toThrow("the job in f16 with a loss scale of 512");
    const whole = await train(jobOf({ precision: "f16" }, 4), { folder: folder(), backend, note: quiet });
    const resumed = await go({ precision: "f16" });
    resumed.losses.forEach(({ loss }, i) => {
      expect(loss).toBeCloseTo(whole.losses[i]!.loss, 5);
    });
  });

  it("in exact arithmetic is the run in f32: its scale changes nothing, and is no weight", async () => {
    const backend = referenceBackend();
    const [half, wide] = [
      await train(jobOf({ precision: "f16" }, 3), { folder: folder(), backend, note: quiet }),
      await train(jobOf({}, 3), { folder: folder(), backend, note: quiet }),
    ];
    half.losses.forEach(({ loss }, i) => {
      expect(loss).toBeCloseTo(wide.losses[i]!.loss, 9);
    });
    expect([...half.weights.keys()]).toEqual([...wide.weights.keys()]);
  });
});

it("a run in f32 is not resumed in f16", async () => {
  const [at, backend] = [folder(), referenceBackend()];
  await train(jobOf({}, 2), { folder: at, backend, note: quiet });
  await expect(
    train(jobOf({ precision: "f16" }, 4), { folder: at, backend, resume: true, note: quiet }),
  ).rejects.toThrow("the run to resume computes in f32, but the job in f16 with a loss scale that adapts");
});

describe("a gradient that is not finite", () => {
  const width = axis("width", 3);
  /** √(w²): 0 where w is 0, and no slope there. */
  const rootOfZero = (p: Params) => {
    const w = p.parameter("w", [width], constantInit(0));
    return { loss: sum(mul(sqrt(mul(w, w)), input("t", "f32", [width])), width) };
  };
  const run = (changes: Partial<Stage>) => {
    const step = trainingStep(stage({ loss: rootOfZero, ...changes }));
    const feeds = { t: { dtype: "f32", axes: [width], data: Float32Array.of(1, 1, 1) } } as const;
    const job = tinyJob(2, {
      step,
      async *batches() {
        for (let i = 1; ; i++) yield { feeds: feeds as never, next: i };
      },
    });
    return train(job, { folder: folder(), backend: referenceBackend(), note: quiet });
  };

  it("ends the run, though its loss is a number", async () => {
    await expect(run({})).rejects.toThrow(
      "the gradient of step 1 is not finite (its norm is NaN, the loss 0): lower the learning rate; checkpoints from before this step are intact",
    );
    await expect(run({ precision: "f16", lossScale: 2 })).rejects.toThrow(
      "a gradient exceeds 65504 when multiplied by the loss scale 2: use a smaller lossScale",
    );
  });
});

describe("a stage", () => {
  const step = (changes: Partial<Stage>) => () => trainingStep(stage(changes));
  it("has a loss scale in f16 alone, a power of two", () => {
    expect(step({ lossScale: 8 })).toThrow('lossScale requires precision "f16"');
    for (const lossScale of [0, -2, 1000, Number.NaN, 2 ** 30])
      expect(step({ precision: "f16", lossScale })).toThrow("lossScale must be a power of two from 2^-24 to 2^24");
    expect(step({ precision: "f16", lossScale: 2 ** -3 })().lossScale?.initial).toBe(0.125);
  });

  it("keeps its parameters and the optimizer's state in f32, and reads the scale from the store", () => {
    const { graph, lossScale } = step({ precision: "f16", lossScale: 1024 })();
    const states = graph.inputs.map((n) => [inputName(n), n.type.dtype] as const);
    expect(states).toContainEqual([lossScale!.state, "f32"]);
    expect(states.filter(([name, dtype]) => name.startsWith("train.") && dtype === "f16")).toEqual([]);
    expect(Object.values(graph.updates)).not.toContain(lossScale!.state); // it is fixed
    expect(step({})().graph.inputs.map(inputName)).not.toContain(lossScale!.state);
  });

  it("has a precision of the two that there are", () => {
    expect(precisionNamed("f16")).toBe("f16");
    expect(() => precisionNamed("bf16")).toThrow('precision must be one of f32, f16, got "bf16"');
  });
});

it("heddle train --precision asks for a job that lets it be chosen", async () => {
  const { err, status } = await heddle("train", "test/support/job-without-settings.ts", "--precision", "f16");
  expect(status).toBe(1);
  expect(err).toContain('the job plain has no setting "precision": give it one, such as "f32", and pass it to');
});

describe("a loss scale that adapts", () => {
  const width = axis("width", 70);
  /**
   * Σ √(w²·x): with an x of 0, as element 66 has in the steps listed, its gradient is NaN and its loss is none the less
   * a number.
   */
  const jobWith = (steps: number, overflows: readonly number[], changes: Partial<Stage> = {}): TrainingJob => {
    const compiled = trainingStep(
      defineStage({
        name: "overflows",
        precision: "f16",
        loss: (p) => {
          const w = p.parameter("w", [width], uniform(0.5, 1));
          return { loss: sum(sqrt(mul(mul(w, w), input("x", "f32", [width]))), width) };
        },
        optimizer: { rate: linearRate({ from: 0.01, steps: 50 }), weightDecay: 0 },
        ...changes,
      }),
    );
    return tinyJob(steps, {
      step: compiled,
      sizes: {},
      async *batches(cursor) {
        for (let i = (cursor as number | undefined) ?? 1; ; i++) {
          const x = Float32Array.from({ length: 70 }, (_, k) => (overflows.includes(i) && k === 66 ? 0 : 1));
          yield { feeds: { x: hostTensor("f32", [width] as SizedAxis[], x) }, next: i + 1 };
        }
      },
    });
  };
  const figuresOf = (at: string) =>
    readFileSync(join(at, "metrics.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, number>);
  const go = async (job: TrainingJob, at: string, backend: Backend, resume = false) => {
    const notes: string[] = [];
    const { weights } = await train(job, { folder: at, backend, resume, note: (t) => notes.push(t) });
    return { weights: weights.get("w")!.data, figures: figuresOf(at), notes };
  };

  gpuTest("skips the step, whose state stays as it was, and halves", async ({ gpu }) => {
    const cpu = await cpuBackend();
    for (const backend of [referenceBackend(), cpu, webgpuBackend(gpu)]) {
      const skipping = await go(jobWith(6, [3, 4]), folder(), backend);
      expect(skipping.figures.map((f) => f.loss_scale)).toEqual([1024, 1024, 512, 256, 256, 256]);
      expect(skipping.figures.map((f) => f.skipped)).toEqual([0, 0, 1, 1, 0, 0]);
      expect(skipping.figures.map((f) => f.gradient_norm === undefined)).toEqual([
        false,
        false,
        true,
        true,
        false,
        false,
      ]);
      const whole = await go(jobWith(4, []), folder(), backend);
      // Scales are powers of two, so that steps without the skipped ones are the same to the bit: rate and moments too.
      expect(skipping.weights).toEqual(whole.weights);
      expect(skipping.figures.filter((f) => f.skipped === 0).map((f) => f.rate)).toEqual(
        whole.figures.map((f) => f.rate),
      );
    }
    cpu.dispose();
  });

  it("leaves the average of the weights as it was, too", async () => {
    const backend = await cpuBackend();
    const ema = { ema: { decay: 0.7 } };
    const skipping = await go(jobWith(6, [3, 4], ema), folder(), backend);
    expect(skipping.figures.map((f) => f.skipped)).toEqual([0, 0, 1, 1, 0, 0]);
    expect(skipping.weights).toEqual((await go(jobWith(4, [], ema), folder(), backend)).weights);
    expect(skipping.weights).not.toEqual((await go(jobWith(4, []), folder(), backend)).weights);
    backend.dispose();
  });

  it("does so with micro-batches, of which one is enough", async () => {
    const loss: Stage["loss"] = (p) => {
      const [batch, w] = [axis("batch", 1), p.parameter("w", [width], uniform(0.5, 1))];
      const x = input("x", "f32", [batch, width]);
      return { loss: mean(sum(sqrt(mul(mul(w, w), x)), width), batch) };
    };
    const micro = (steps: number, overflows: readonly number[]) => {
      const job = jobWith(steps, overflows, { accumulate: 2, loss });
      return {
        ...job,
        async *batches(...given: Parameters<TrainingJob["batches"]>) {
          for await (const { feeds, next } of job.batches(...given)) {
            const x = hostTensor("f32", [{ name: "batch", size: 1 }, ...feeds.x!.axes], feeds.x!.data);
            yield { feeds: { x }, next };
          }
        },
      };
    };
    const skipping = await go(micro(4, [3, 6]), folder(), referenceBackend());
    expect(skipping.figures.map((f) => f.skipped)).toEqual([0, 1, 1, 0]);
    expect(skipping.weights).toEqual((await go(micro(2, []), folder(), referenceBackend())).weights);
  });

  it("is resumed as it was, with the number of its updates", async () => {
    const backend = await cpuBackend();
    const [whole, at] = [await go(jobWith(7, [2, 5]), folder(), backend), folder()];
    await go(jobWith(3, [2, 5]), at, backend);
    const resumed = await go(jobWith(7, [2, 5]), at, backend, true);
    const told = (figures: typeof whole.figures) => figures.map(({ seconds, ...f }) => f);
    expect(told(resumed.figures)).toEqual(told(whole.figures));
    expect(resumed.weights).toEqual(whole.weights);
    backend.dispose();
  });

  it("says when no scale helps, and leaves the parameters as they were", async () => {
    const at = folder();
    const always = Array.from({ length: 40 }, (_, i) => i + 3);
    await expect(go(jobWith(40, always), at, referenceBackend())).rejects.toThrow(
      "the gradient of step 12 is not finite (its norm is NaN, the loss",
    );
    expect(figuresOf(at).at(-1)).toMatchObject({ step: 11, loss_scale: 2, skipped: 1 });
    const loaded = (await loadNewestCheckpoint(join(at, "checkpoints"), quiet))!;
    const { data } = await loaded.groups.model!.readTensor("w");
    await loaded.dispose();
    const two = await go(jobWith(2, []), folder(), referenceBackend());
    expect(data).toEqual(Float32Array.from(two.weights));
  });

  it.each([
    [1024, 5, true, 1024, 6],
    [1024, 1999, true, 2048, 0],
    [2 ** 24, 1999, true, 2 ** 24, 0],
    [1024, 1999, false, 512, 0],
    [1, 0, false, 1, 0],
  ])("of %d after %d good steps and one that is good: %s becomes %d", (scale, good, isGood, nextScale, nextGood) => {
    const after = adaptedScale(
      input("scale", "f32", []),
      input("good", "i32", []),
      isFiniteNorm(input("norm", "f32", [])),
    );
    const graph = makeGraph("scale", [
      { name: "scale_after", node: after.scale },
      { name: "good_after", node: after.good },
    ]);
    for (const norm of isGood ? [0, 3] : [Number.NaN, Number.POSITIVE_INFINITY]) {
      const values = { scale, good, norm };
      const got = evaluate(graph, new Map(Object.entries(values).map(([n, v]) => [n, Float64Array.of(v)])));
      expect([got.get("scale_after")!.data[0], got.get("good_after")!.data[0]]).toEqual([nextScale, nextGood]);
    }
  });
});
