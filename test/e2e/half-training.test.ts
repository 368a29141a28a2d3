/** A training run's precision: what is said of it, what a checkpoint keeps of it, and gradients that are not finite. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { inputName } from "../../compiler/index.ts";
import {
  axis,
  constantInit,
  constantRate,
  defineStage,
  input,
  mul,
  type Params,
  precisionNamed,
  type Stage,
  sqrt,
  sum,
  trainingStep,
} from "../../dsl/index.ts";
import { stageOneLoss } from "../../models/index.ts";
import { train } from "../../runtime/index.ts";
import { heddle } from "../cli/support.ts";
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
      "precision: f32, because the interpreter computes in f64, whatever is asked for; parameters, gradients and optimizer in f32, loss scale 1024",
    );
    const go = (changes: Partial<Stage>) =>
      train(jobOf(changes, 4), { folder: at, backend, resume: true, note: quiet });
    await expect(go({})).rejects.toThrow(
      "the run to resume computes in f16 with a loss scale of 1024, the job in f32: go on in the precision that it began in",
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
  ).rejects.toThrow("the run to resume computes in f32, the job in f16 with a loss scale of 1024");
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
      "the gradient of step 1 is not finite (its norm is NaN, the loss 0): lower the learning rate; checkpoints up to before it are whole",
    );
    await expect(run({ precision: "f16", lossScale: 2 })).rejects.toThrow(
      "a cotangent passes 65504 when multiplied by the loss scale 2: take a smaller lossScale",
    );
  });
});

describe("a stage", () => {
  const step = (changes: Partial<Stage>) => () => trainingStep(stage(changes));
  it("has a loss scale in f16 alone, a power of two", () => {
    expect(step({ lossScale: 8 })).toThrow('a lossScale goes with precision "f16"');
    for (const lossScale of [0, -2, 1000, Number.NaN, 2 ** 30])
      expect(step({ precision: "f16", lossScale })).toThrow("take a power of two from 2^-24 to 2^24");
    expect(step({ precision: "f16", lossScale: 2 ** -3 })().lossScale?.initial).toBe(0.125);
  });

  it("keeps its parameters and the optimizer's state in f32, and reads the scale from the store", () => {
    const { graph, lossScale } = step({ precision: "f16" })();
    const states = graph.inputs.map((n) => [inputName(n), n.type.dtype] as const);
    expect(states).toContainEqual([lossScale!.state, "f32"]);
    expect(states.filter(([name, dtype]) => name.startsWith("train.") && dtype === "f16")).toEqual([]);
    expect(Object.values(graph.updates)).not.toContain(lossScale!.state); // it is fixed
    expect(step({})().graph.inputs.map(inputName)).not.toContain(lossScale!.state);
  });

  it("has a precision of the two that there are", () => {
    expect(precisionNamed("f16")).toBe("f16");
    expect(() => precisionNamed("bf16")).toThrow('precision is one of f32, f16, not "bf16"');
  });
});

it("heddle train --precision asks for a job that lets it be chosen", async () => {
  const { err, status } = await heddle("train", "test/support/job-without-settings.ts", "--precision", "f16");
  expect(status).toBe(1);
  expect(err).toContain('the job plain has no setting "precision": give it one, such as "f32", and pass it to');
});
