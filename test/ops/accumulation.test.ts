/**
 * Steps of several micro-batches: equal to the step of the whole batch, resumed alike, and refused where they would not
 * be.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { type HostTensor, hostTensor, inputName, mulDims, printGraph, type SizedAxis } from "../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  add,
  axis,
  axisOf,
  cast,
  contract,
  cosine,
  crossEntropy,
  defineStage,
  div,
  gelu,
  gt,
  input,
  type LossResult,
  lamb,
  linear,
  max,
  mean,
  merge,
  mul,
  type OneLoss,
  type Params,
  rename,
  type Stage,
  sgd,
  softmax,
  split,
  sum,
  symbol,
  type Tensor,
  tanh,
  trainingStep,
  uniform,
} from "../../dsl/index.ts";
import { chatConfig, patchSteps, stageOneLoss, type TextConfig } from "../../models/index.ts";
import { type TrainingJob, train } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { excess, seeded } from "../support/samples.ts";
import { tinyConfig } from "../support/tiny-job.ts";

const batch = axis("batch", symbol("batch"));
const [token, embed, hidden, word] = [axis("token", 3), axis("embed", 5), axis("hidden", 7), axis("word", 11)];

const logitsOf = (p: Params) => {
  const x = input("x", "f32", [batch, token, embed]);
  return linear(p.scope("b"), gelu(linear(p.scope("a"), x, [embed], [hidden])), [hidden], [word]);
};
const target = input("target", "i32", [batch, token]);
const tokenLoss = (p: Params) => crossEntropy(logitsOf(p), max(target, 0) as never, word) as Tensor<"batch" | "token">;

/** The mean over all tokens, and how many are first. */
const plain = (p: Params): LossResult => ({
  loss: mean(tokenLoss(p), [batch, token]),
  metrics: { positive: mean(cast(gt(target, 3), "f32"), [batch, token]) },
});
/** The mean over tokens with a target. */
const masked = (p: Params, isWeighed = true): LossResult => {
  const wanted = cast(gt(target, 2), "f32") as Tensor<"batch" | "token">;
  const count = sum(wanted, [batch, token]);
  return {
    loss: div(sum(mul(tokenLoss(p), wanted), [batch, token]), max(count, 1)),
    ...(isWeighed && { weight: count }),
  };
};

/** The mean over tokens whose target is above a number, and how many those are. */
const above = (p: Params, least: number) => {
  const wanted = cast(gt(target, least), "f32") as Tensor<"batch" | "token">;
  const count = sum(wanted, [batch, token]) as Tensor<never>;
  return { loss: div(sum(mul(tokenLoss(p), wanted), [batch, token]), max(count, 1)) as Tensor<never>, count };
};

/** Means over different numbers of tokens, for which no one weight is right. */
const apart = (p: Params): LossResult => ({
  losses: [
    { name: "many", loss: above(p, 2).loss },
    { name: "few", loss: above(p.shared(), 7).loss, weight: 0.5 },
  ],
});

/** The same beside the weight of one of them. */
const halfWeighed = (p: Params): LossResult => ({ ...apart(p), weight: above(p.shared(), 2).count });

/** A mean over tokens with a target beside one over all samples. */
const alike = (p: Params): LossResult => ({
  losses: [
    { name: "words", loss: (masked(p) as OneLoss).loss },
    { name: "alike", loss: (plain(p.shared()) as OneLoss).loss },
  ],
  weight: (masked(p.shared()) as OneLoss).weight!,
});

const squared = (p: Params): LossResult => {
  const x = mean(tokenLoss(p), [batch, token]);
  return { loss: mul(x, x) as Tensor<never> };
};

/** A mean over the samples that is weighted by a share of theirs, whose divisor is learned too. */
const share = (p: Params): LossResult => {
  const each = mean(tokenLoss(p), token);
  const isKept = cast(gt(mean(cast(target, "f32"), token), 3), "f32");
  return { loss: div(contract(each, isKept, batch), mean(each, batch)) as Tensor<never> };
};

/** Two losses, both means over tokens with a target, one of them reported alone. */
const several = (p: Params): LossResult => {
  const { loss, weight } = masked(p) as OneLoss;
  const again = masked(p.shared()) as OneLoss;
  return {
    losses: [
      { name: "words", loss, weight: 0.75 },
      { name: "same", loss: again.loss, weight: 0.5 },
      { name: "told", loss: mul(loss, 2) as Tensor<never>, weight: 0 },
    ],
    ...(weight && { weight }),
  };
};

/** Rows of all samples, then split in two: into samples of several rows, or into parts of the batch. */
const splitRows = <A extends string>(p: Params, into: readonly Axis<A>[]): Tensor<A> => {
  const rows: AnyTensor = merge(tokenLoss(p), [batch, token], axis("row", mulDims(batch.size, 3)));
  return tanh(split(rows, axisOf(rows, "row"), into)) as Tensor<A>;
};
const sample = axis("sample", batch.size);
const ofRows = (p: Params): LossResult => ({
  loss: mean(mean(splitRows<"sample" | "token">(p, [sample, token]), token), sample),
});

/** A mean over samples beside a weight, which then says nothing of it. */
const misweighed = (p: Params): LossResult => ({ ...plain(p), weight: (masked(p.shared()) as OneLoss).weight! });

const optimizer: Stage["optimizer"] = { rate: cosine({ peak: 0.02, steps: 9 }), clip: 0.5 };
const step = (loss: Stage["loss"], accumulate: number, changes: Partial<Stage> = {}, largestArena?: number) =>
  trainingStep(defineStage({ name: "words", loss, optimizer, accumulate, ...changes }), largestArena);

/** Rows `from` on of the data. */
function feeds(from: number, rows: number): Record<string, HostTensor> {
  const sized = (axes: readonly { name: string; size: unknown }[]) =>
    axes.map((a) => ({ name: a.name, size: a.name === "batch" ? rows : a.size })) as SizedAxis[];
  const all = Array.from({ length: rows }, (_, i) => seeded(from + i + 1)).map((next) => ({
    x: Array.from({ length: 15 }, () => next() - 0.5),
    target: Array.from({ length: 3 }, () => Math.floor(11 * next())),
  }));
  return {
    x: hostTensor(
      "f32",
      sized([batch, token, embed]),
      all.flatMap((r) => r.x),
    ),
    target: hostTensor(
      "i32",
      sized([batch, token]),
      all.flatMap((r) => r.target),
    ),
  };
}

const rows = 8;
const job = (steps: number, compiled: TrainingJob["step"]): TrainingJob => {
  const size = rows / (compiled.accumulation?.count ?? 1);
  return {
    seed: 5,
    steps,
    sizes: { batch: size },
    checkpointEvery: 2,
    step: compiled,
    async *batches(cursor) {
      for (let at = (cursor as number | undefined) ?? 0; ; at += size)
        yield { feeds: feeds(at, size), next: at + size };
    },
  };
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "accumulation-"));
});
afterEach(async () => await rm(folder, { recursive: true }));

async function run(name: string, steps: number, compiled: TrainingJob["step"], backend: Backend, resume = false) {
  await mkdir(join(folder, name), { recursive: true });
  const { losses, weights } = await train(job(steps, compiled), {
    folder: join(folder, name),
    backend,
    resume,
    note: () => {},
  });
  const values = [...weights].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, t]) => [...t.data]);
  return { losses: losses.map((l) => l.loss), values };
}

const lora = { pattern: "a", rank: 2 };
const ema = { decay: 0.7 };
const cases: readonly (readonly [string, Stage["loss"], Partial<Stage>])[] = [
  ["a mean over samples", plain, {}],
  ["a mean over samples of several rows", ofRows, {}],
  ["a mean over tokens with a target", masked, {}],
  ["several losses", several, {}],
  ["a mean over samples that is given a weight", misweighed, {}],
  ["means over different numbers of tokens", apart, {}],
  ["the same, with the weight of one", halfWeighed, {}],
  ["a mean over tokens beside one over samples", alike, {}],
  ["a product of means", squared, {}],
  ["a quotient of means", share, {}],
  ["an average of the weights", masked, { ema }],
  ["low-rank updates", masked, { lora, ema, optimizer: { ...optimizer, rule: lamb() } }],
];

describe.each(cases)("%s", (_, loss, changes) => {
  it("in 2 micro-batches or 8 is that of the whole batch", async () => {
    const want = await run("whole", 4, step(loss, 1, changes), referenceBackend());
    for (const count of [2, 8]) {
      const got = await run(`parts-${count}`, 4, step(loss, count, changes), referenceBackend());
      expect(excess(got.losses, want.losses, 1e-9, 1e-9)).toBeLessThanOrEqual(0);
      expect(excess(got.values, want.values, 1e-7, 1e-7)).toBeLessThanOrEqual(0); // weights begin and end as f32
    }
  });
});

gpuTest("is the same on devices, over several arenas and with other rules", async ({ gpu }) => {
  for (const rule of [sgd({ momentum: 0.9 }), lamb()]) {
    const compiled = step(masked, 4, { optimizer: { rule, rate: cosine({ peak: 0.02, steps: 9 }), clip: 0.5 } }, 64);
    expect(compiled.arenas.length).toBeGreaterThan(1);
    const want = await run(`${rule.name}-reference`, 4, compiled, referenceBackend());
    const cpu = await cpuBackend();
    for (const [name, backend] of [
      ["cpu", cpu],
      ["webgpu", webgpuBackend(gpu)],
    ] as const) {
      const got = await run(`${rule.name}-${name}`, 4, compiled, backend);
      expect(excess(got.losses, want.losses, 2e-6, 2e-6)).toBeLessThanOrEqual(0);
      expect(excess(got.values, want.values, 1e-5, 1e-5)).toBeLessThanOrEqual(0);
    }
    cpu.dispose();
  }
});

it.each([{}, { lora, ema }])("goes on bit by bit where it stopped, with %j", async (changes) => {
  const backend = await cpuBackend();
  const compiled = step(plain, 4, changes);
  const whole = await run("whole", 5, compiled, backend);
  await run("parts", 3, compiled, backend);
  expect(await run("parts", 5, compiled, backend, true)).toEqual(whole);
  backend.dispose();
});

it("draws other random numbers for each micro-batch, and the same again", async () => {
  const dropped = (p: Params): LossResult => ({
    loss: mean(mul(tokenLoss(p), p.bernoulli("keep", [batch], 0.5)), [batch, token]),
  });
  const first = await run("first", 3, step(dropped, 4), referenceBackend());
  expect((await run("again", 3, step(dropped, 4), referenceBackend())).losses).toEqual(first.losses);
  expect((await run("whole", 3, step(dropped, 1), referenceBackend())).losses).not.toEqual(first.losses);
});

describe("the two graphs", () => {
  const { graph, accumulation } = step(plain, 4);
  it("are these", async () => {
    await expect(printGraph(graph)).toMatchFileSnapshot("golden/accumulation/micro-batch.graph");
    await expect(printGraph(accumulation!.update)).toMatchFileSnapshot("golden/accumulation/update.graph");
  });
  it("meet in the sums alone: the first tells nothing, the second is fed nothing", () => {
    expect(graph.outputs.filter((o) => !(o.name in graph.updates))).toEqual([]);
    expect(accumulation!.update.inputs.map(inputName).filter((n) => !n.startsWith("train."))).toEqual([]);
  });
  it("are one where there is one micro-batch", () => {
    const whole = step(plain, 1);
    expect(whole.accumulation).toBeUndefined();
    expect(whole.graph.inputs.map(inputName).filter((n) => n.startsWith("train.sum"))).toEqual([]);
  });
});

describe("is refused", () => {
  const refuses = (loss: Stage["loss"], text: string) => expect(() => step(loss, 4)).toThrow(text);

  it("for a number that is none of micro-batches", () => {
    for (const n of [0, -1, 1.5, Number.NaN])
      expect(() => step(plain, n)).toThrow(`stage "words": accumulate must be a positive integer, got ${n}`);
  });

  it("for inputs that do not say where their samples lie", () => {
    const row = axis("row", symbol("batch"));
    refuses((p) => {
      const w = p.parameter("w", [embed], uniform(-1, 1));
      return { loss: mean(mul(input("x", "f32", [row, embed]), w), [row, embed]) };
    }, 'reads no input with an axis "batch", the batch axis: rename that axis');
  });

  it("for what is divided by what the samples say, where their number could be the weight", () => {
    refuses((p) => masked(p, false), "return that divisor as `weight` with the loss");
  });

  it("for means of different weights over a fixed number of samples", () => {
    const eight = axis("batch", 8);
    refuses((p) => {
      const x = input("x", "f32", [eight]);
      const y = mul(x, p.parameter("w", [], uniform(0.5, 1)));
      const over = (least: number) => {
        const wanted = cast(gt(x, least), "f32");
        return div(sum(mul(y, wanted), eight), sum(wanted, eight));
      };
      return { loss: add(over(0), over(1)) };
    }, "is no mean that one weight could average (reduce_sum at ");
  });

  it.each(["loss", "rate", "gradient_norm", "parameters", "gradients", "cleared.loss"])(
    "for a metric called %s, which one of its graphs gives already",
    (name) =>
      refuses(
        (p) => ({ ...plain(p), metrics: { [name]: mean(cast(target, "f32"), [batch, token]) } }) as LossResult,
        `stage "words": "${name}" is already used`,
      ),
  );

  it("for sums, which the large batch would have more of", () => {
    refuses((p) => ({ loss: sum(tokenLoss(p), [batch, token]) }), "is a sum over samples (reduce_sum at ");
  });
});

describe("is taken", () => {
  it("for what compares samples or weighs them in several ways, which takes two passes: see gradient-cache.test.ts", () => {
    const isCached = (loss: Stage["loss"]) => step(loss, 4).accumulation?.cached !== undefined;
    expect(isCached((p) => stageOneLoss(p, tinyConfig))).toBe(true);
    expect(isCached((p) => ({ loss: mean(softmax(tokenLoss(p), batch), [batch, token]) }))).toBe(true);
    // Rows that are next to those of other samples in a larger batch.
    const part = axis("part", 3);
    expect(isCached((p) => ({ loss: mean(splitRows<"part" | "batch">(p, [part, batch]), [part, batch]) }))).toBe(true);
    expect([plain, masked, several, ofRows, misweighed].filter(isCached)).toEqual([]);
    expect([apart, halfWeighed, alike, squared, share].filter((loss) => !isCached(loss))).toEqual([]);
  });

  it("for instructions, whose answers count by their tokens", () => {
    const chat = { ...chatConfig(tinyConfig.text as TextConfig), vision: tinyConfig.vision, features: -1 };
    const glue = patchSteps[0]!(chat);
    expect(trainingStep({ ...glue!.stage, accumulate: 3 }).accumulation?.count).toBe(3);
  });

  it("for sums of means, and for samples under another name", () => {
    const other = axis("other", batch.size);
    const renamed = (p: Params) => mean(rename(tokenLoss(p), batch, other), [other, token]);
    const both = (p: Params) => ({
      loss: add(mul(mean(tokenLoss(p), [batch, token]), 3), renamed(p.shared())) as Tensor<never>,
    });
    expect(step(both, 4).accumulation?.count).toBe(4);
  });
});
