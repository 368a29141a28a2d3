/**
 * Micro-batches of losses that compare samples: every weight and figure as of the whole batch, in the reference and on
 * devices.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { fedInputs } from "../../backends/feeds.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import {
  bernoulli,
  type HostTensor,
  hostTensor,
  inputName,
  makeGraph,
  ops,
  printGraph,
  type SizedAxis,
} from "../../compiler/index.ts";
import {
  add,
  axis,
  batchNorm,
  cast,
  contract,
  cosine,
  crossEntropy,
  defineStage,
  div,
  eq,
  gelu,
  gt,
  input,
  iota,
  type LossResult,
  l2Normalize,
  lamb,
  linear,
  max,
  mean,
  merge,
  mul,
  type Params,
  rename,
  type Stage,
  type StateUpdate,
  sgd,
  softmax,
  split,
  sub,
  sum,
  symbol,
  type Tensor,
  trainingStep,
  uniform,
} from "../../dsl/index.ts";
import { retrievalLoss, stageOneLoss, stageTwo, stageTwoLoss } from "../../models/index.ts";
import { fillRandom, type TrainingJob, train } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { halfKernels } from "../support/half-kernels.ts";
import { excess, seeded } from "../support/samples.ts";
import { tinyConfig } from "../support/tiny-job.ts";

const batch = axis("batch", symbol("batch"));
const pair = axis("pair", batch.size);
const [token, embed, feature] = [axis("token", 3), axis("embed", 5), axis("feature", 7)];
const row = axis("row", "rows");
const optimizer: Stage["optimizer"] = { rate: cosine({ peak: 0.02, steps: 9 }), clip: 0.5, weightDecay: 0.1 };

const tower = (p: Params, name: string) =>
  l2Normalize(linear(p.scope(name), gelu(input(name, "f32", [batch, embed])), [embed], [feature]), feature) as Tensor<
    "batch" | "feature"
  >;

/** Two towers and a temperature that is itself a parameter of what compares them. */
function towers(p: Params): LossResult {
  const [left, right] = [tower(p, "left"), tower(p, "right")];
  const warmth = p.parameter("warmth", [], uniform(1, 2));
  const logits = mul(contract(left, rename(right, batch, pair), feature), warmth);
  const loss = mean(crossEntropy(logits, iota(batch), pair), batch) as Tensor<never>;
  return { loss, metrics: { warmth, first: mean(left, [batch, feature]) } };
}

/**
 * A pull of each row to the batch's mean, by a parameter that is used before and past the cut; whole and true features
 * too.
 */
function pulled(p: Params): LossResult {
  const x = input("x", "f32", [batch, token, embed]);
  const w = p.parameter("w", [embed], uniform(0.5, 1));
  const y = split(mul(merge(x, [batch, token], row), w), row, [batch, token]);
  const marked = gt(input("mark", "i32", [batch]), 2);
  const middle = mean(y, batch) as Tensor<"token" | "embed">;
  const apart = mul(sub(y, mul(middle, w)), sub(y, middle)) as Tensor<"batch" | "token" | "embed">;
  const each = mul(sum(apart, [token, embed]), cast(marked, "f32")) as Tensor<"batch">;
  const total = div(sum(each, batch), max(sum(cast(marked, "f32"), batch), 1)) as Tensor<never>;
  const many = mul(sum(mean(y, [token, embed]), batch), 0.125) as Tensor<never>; // a sum over samples, as it is
  return { loss: add(total, mul(many, many)) as Tensor<never> };
}

/** Running statistics are those of the whole batch. */
function normed(p: Params): LossResult {
  const updates: StateUpdate[] = [];
  const y = linear(p.scope("a"), input("left", "f32", [batch, embed]), [embed], [feature]);
  const z = batchNorm(p.scope("norm"), y, feature, { updates }) as Tensor<"batch" | "feature">;
  return { loss: mean(mul(gelu(z), z), [batch, feature]) as Tensor<never>, updates };
}

/** Batch norm, and a layer with parameters past it. */
function classified(p: Params): LossResult {
  const updates: StateUpdate[] = [];
  const y = batchNorm(p.scope("norm"), tower(p, "left"), feature, { updates }) as Tensor<"batch" | "feature">;
  const scores = linear(p.scope("next"), gelu(y), [feature], [embed]);
  return { loss: mean(crossEntropy(scores, input("mark", "i32", [batch]), embed), batch) as Tensor<never>, updates };
}

/** Rows that show the same thing count together; softmax along the batch. */
function soft(p: Params): LossResult {
  const [left, right] = [tower(p, "left"), tower(p, "right")];
  const id = input("mark", "i32", [batch]);
  const same = cast(eq(id, rename(id, batch, pair)), "f32") as Tensor<"batch" | "pair">;
  const share = div(same, sum(same, pair)) as Tensor<"batch" | "pair">;
  const logits = contract(left, rename(right, batch, pair), feature);
  return { loss: mul(sum(mul(softmax(logits, batch), share), [batch, pair]), -0.25) as Tensor<never> };
}

const still = { ...tinyConfig, vision: { ...tinyConfig.vision, dropPath: 0 } };
const generative = { ...still, text: { ...still.text, queries: 3, crossEvery: 2 } };
const { trainable, optimizer: ofStageTwo } = stageTwo(generative).stage;

interface Case {
  readonly loss: Stage["loss"];
  readonly changes?: Partial<Stage>;
}
const lora = { pattern: "**", rank: 2 };
const cases: Readonly<Record<string, Case>> = {
  "two towers": { loss: towers },
  "two towers, with an average and LAMB": {
    loss: towers,
    changes: { ema: { decay: 0.7 }, optimizer: { ...optimizer, rule: lamb() } },
  },
  "two towers, one of them frozen": { loss: towers, changes: { trainable: ["!left.**"] } },
  "two towers, one of them frozen in f16": { loss: towers, changes: { trainable: ["!left.**"], frozen: "f16" } },
  "two towers with low-rank updates": { loss: towers, changes: { lora } },
  "the temperature alone": { loss: towers, changes: { trainable: ["warmth"] } },
  "a parameter on both sides of the cut": { loss: pulled },
  "batch norm, whose layers end there": { loss: normed },
  "batch norm, then a layer": { loss: classified },
  "batch norm, then a layer, with the layers before frozen": { loss: classified, changes: { trainable: ["!left.**"] } },
  "shared targets": { loss: soft },
  "stage 1": { loss: (p) => ({ loss: stageOneLoss(p, still).loss }) },
  "stage 2": {
    loss: (p) => stageTwoLoss(p, generative, { labelSmoothing: 0.1 }),
    changes: { trainable: trainable!, optimizer: { ...ofStageTwo, rate: cosine({ peak: 0.02, steps: 9 }) } },
  },
  "stage 2 with mined negatives": {
    loss: (p) => stageTwoLoss(p, generative, { negatives: "mined" }),
    changes: { trainable: trainable!, optimizer: { ...ofStageTwo, rate: cosine({ peak: 0.02, steps: 9 }) } },
  },
  "retrieval tuning": { loss: (p) => retrievalLoss(p, generative) },
};

const compiled = ({ loss, changes }: Case, accumulate: number, largestArena?: number) =>
  trainingStep(defineStage({ name: "compared", loss, optimizer, accumulate, ...changes }), largestArena);

/** Samples `from` on, each the same whatever batch it comes in. */
function feedsOf(step: TrainingJob["step"], from: number, rows: number): Record<string, HostTensor> {
  const graphs = [step.graph, ...(step.accumulation?.cached ? [step.accumulation.cached.features] : [])];
  const fed = new Map(graphs.flatMap(fedInputs).map((n) => [inputName(n), n]));
  return Object.fromEntries(
    [...fed].flatMap(([name, { op, type }]) => {
      if (op === "random") return [];
      const axes = type.axes.map((a) => ({ name: a.name, size: a.name === "batch" ? rows : a.size })) as SizedAxis[];
      const length = axes.reduce((n, a) => n * a.size, 1) / rows;
      const most = /ids$/.test(name) ? 17 : name === "matches" ? 2 : name === "caption_prompt" ? 3 : 5;
      const values = Array.from({ length: rows }, (_, i) => {
        const next = seeded(1000 * (from + i + 1) + name.length);
        return Array.from({ length }, () => (type.dtype === "f32" ? 2 * next() - 1 : Math.floor(most * next())));
      });
      return [[name, hostTensor(type.dtype, axes, values.flat())]];
    }),
  );
}

const rows = 8;
type FeedsOf = (from: number, rows: number) => Record<string, HostTensor>;
const jobOf = (steps: number, step: TrainingJob["step"], feeds: FeedsOf): TrainingJob => {
  const size = rows / (step.accumulation?.count ?? 1);
  return {
    seed: 5,
    steps,
    sizes: { batch: size },
    checkpointEvery: 2,
    step,
    async *batches(cursor) {
      for (let at = (cursor as number | undefined) ?? 0; ; at += size)
        yield { feeds: feeds(at, size), next: at + size };
    },
  };
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cached-"));
});
afterEach(async () => await rm(folder, { recursive: true }));

interface RunOptions {
  readonly resume?: boolean;
  readonly feeds?: FeedsOf;
}
async function run(name: string, steps: number, step: TrainingJob["step"], backend: Backend, options: RunOptions = {}) {
  const { resume = false, feeds = (from, rows) => feedsOf(step, from, rows) } = options;
  await mkdir(join(folder, name), { recursive: true });
  const { losses, weights } = await train(jobOf(steps, step, feeds), {
    folder: join(folder, name),
    backend,
    resume,
    note: () => {},
  });
  const values = [...weights].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, t]) => [...t.data]);
  return { losses: losses.map((l) => l.loss), values };
}

describe.each(Object.entries(cases))("%s", (_, one) => {
  it("in 4 micro-batches is that of the whole batch", async () => {
    const [whole, parts] = [compiled(one, 1), compiled(one, 4)];
    expect(parts.accumulation?.cached).toBeDefined();
    const want = await run("whole", 2, whole, referenceBackend()); // the second reads what the first has left
    const got = await run("parts", 2, parts, referenceBackend());
    expect(excess(got.losses, want.losses, 1e-9, 1e-9)).toBeLessThanOrEqual(0);
    expect(excess(got.values, want.values, 1e-7, 1e-7)).toBeLessThanOrEqual(0); // weights begin and end as f32
    expect(new Set(want.losses).size).toBe(2);
  });
});

it.each([2, 8])("is so in %d micro-batches, over several arenas", async (count) => {
  const want = await run("whole", 4, compiled(cases["two towers"]!, 1), referenceBackend());
  const parts = compiled(cases["two towers"]!, count, 64);
  expect(parts.arenas.length).toBeGreaterThan(1);
  const got = await run("parts", 4, parts, referenceBackend());
  expect(excess(got.losses, want.losses, 1e-9, 1e-9)).toBeLessThanOrEqual(0);
  expect(excess(got.values, want.values, 1e-7, 1e-7)).toBeLessThanOrEqual(0);
});

gpuTest("is the same on devices", async ({ gpu }) => {
  const cpu = await cpuBackend();
  for (const name of [
    "a parameter on both sides of the cut",
    "shared targets",
    "batch norm, whose layers end there",
    "batch norm, then a layer",
  ]) {
    const step = compiled(
      {
        ...cases[name]!,
        changes: { optimizer: { rule: sgd({ momentum: 0.9 }), rate: cosine({ peak: 0.02, steps: 9 }) } },
      },
      4,
      64,
    );
    const want = await run(`${name}-reference`, 2, step, referenceBackend());
    for (const [device, backend] of [
      ["cpu", cpu],
      ["webgpu", webgpuBackend(gpu)],
    ] as const) {
      const got = await run(`${name}-${device}`, 2, step, backend);
      expect(excess(got.losses, want.losses, 2e-6, 2e-6)).toBeLessThanOrEqual(0);
      expect(excess(got.values, want.values, 1e-5, 1e-5)).toBeLessThanOrEqual(0);
    }
  }
  cpu.dispose();
});

it("in f16, whose scale goes through the cached cotangents, is near f32", async () => {
  const changes = { precision: "f16" } as const;
  const want = await run("f32", 3, compiled(cases["two towers"]!, 1), referenceBackend());
  const exact = await run("exact", 3, compiled({ loss: towers, changes }, 4), referenceBackend());
  expect(excess(exact.values, want.values, 1e-7, 1e-7)).toBeLessThanOrEqual(0);
  const got = await run("half", 3, compiled({ loss: towers, changes }, 4), halfKernels());
  expect(excess(got.losses, want.losses, 0, 2e-3)).toBeLessThanOrEqual(0);
  expect(got.losses).not.toEqual(want.losses);
});

it("goes on bit by bit where it stopped", async () => {
  const backend = await cpuBackend();
  const step = compiled(cases["two towers"]!, 4);
  const whole = await run("whole", 5, step, backend);
  await run("parts", 3, step, backend);
  expect(await run("parts", 5, step, backend, { resume: true })).toEqual(whole);
  backend.dispose();
});

it("draws a micro-batch's random numbers once for both passes", async () => {
  const dropped = (mask: (p: Params) => Tensor<"batch">) => (p: Params) => {
    const [left, right] = [mul(tower(p, "left"), mask(p)), rename(tower(p, "right"), batch, pair)];
    const logits = contract(left as Tensor<"batch" | "feature">, right, feature);
    return { loss: mean(crossEntropy(logits, iota(batch), pair), batch) as Tensor<never> };
  };
  const parts = compiled({ loss: dropped((p) => p.bernoulli("keep", [batch], 0.5)) }, 4);
  const got = await run("parts", 3, parts, referenceBackend());
  const whole = compiled({ loss: dropped(() => input("keep", "f32", [batch])) }, 1);
  const want = await run("whole", 3, whole, referenceBackend(), {
    feeds: (from, rows) => {
      const { keep, ...feeds } = feedsOf(whole, from, rows);
      const drawn = [0, 1, 2, 3].flatMap((i) => [...fillRandom(bernoulli(0.5), [2], 5, "keep", from / 2 + i)]);
      return { ...feeds, keep: hostTensor("f32", keep!.axes, drawn) };
    },
  });
  expect(excess(got.losses, want.losses, 1e-9, 1e-9)).toBeLessThanOrEqual(0);
  expect(excess(got.values, want.values, 1e-7, 1e-7)).toBeLessThanOrEqual(0);
});

describe("the graphs", () => {
  const { graph, accumulation } = compiled(cases["two towers"]!, 4);
  const { features, middle } = accumulation!.cached!;
  it.each([
    ["features", features],
    ["middle", middle],
    ["micro-batch", graph],
    ["update", accumulation!.update],
  ])("of %s is this", async (name, graph) => {
    await expect(printGraph(graph)).toMatchFileSnapshot(`golden/gradient-cache/${name}.graph`);
  });
  it("tell nothing but by the last, and are fed in the passes alone", () => {
    for (const g of [graph, features, middle]) expect(g.outputs.filter((o) => !(o.name in g.updates))).toEqual([]);
    for (const g of [middle, accumulation!.update]) expect(fedInputs(g)).toEqual([]);
  });
  it("keep nothing of the whole batch but what is compared", () => {
    const whole = accumulation!.sums.filter((s) => s.type.axes.some((a) => a.name === "batch"));
    expect(whole.map((s) => s.type.axes.map((a) => String(a.size)))).toEqual(Array(4).fill(["4*batch", "7"]));
  });
});

it("keeps the statistics of the whole batch in each of several processes", () => {
  const step = compiled(cases["batch norm, whose layers end there"]!, 1);
  expect(step.kept.length).toBeGreaterThan(0);
  const [one, other] = [0, 1].map((first) => {
    const { outputs, updates } = step.inParts({ count: 2, own: { first, count: 1 } }).accumulation!.update;
    const kept = outputs.filter((o) => step.kept.some((k) => k.name === updates[o.name]));
    expect(kept.length).toBe(step.kept.length);
    return printGraph(makeGraph("kept", kept));
  });
  expect(one).toBe(other);
});

describe("is refused", () => {
  const refuses = (loss: Stage["loss"], text: string) => expect(() => compiled({ loss }, 4)).toThrow(text);
  const across = (x: Tensor<"batch" | "feature">) =>
    mean(softmax(contract(x, rename(x, batch, pair), feature), pair), [batch, pair]) as Tensor<never>;

  it.each(["f32", "f16"] as const)(
    "where layers go on with what was compared twice, learned or frozen in %s",
    (frozen) => {
      const loss =
        (norms: number) =>
        (p: Params): LossResult => {
          const updates: StateUpdate[] = [];
          let x = tower(p, "left") as Tensor<"batch" | "feature">;
          for (let i = 0; i < norms; i++) {
            const y = batchNorm(p.scope(`norm.${i}`), x, feature, { updates });
            x = linear(p.scope(`next.${i}`), y, [feature], [feature]);
          }
          return { loss: mean(mul(x, x), [batch, feature]) as Tensor<never>, updates };
        };
      for (const trainable of [["**"], ["left.**"]]) {
        expect(() => compiled({ loss: loss(1), changes: { trainable, frozen } }, 4)).not.toThrow();
        expect(() => compiled({ loss: loss(2), changes: { trainable, frozen } }, 4)).toThrow(
          "is followed by layers (contract at test/ops/gradient-cache.test.ts",
        );
      }
      const ofTwo = { count: 2, own: { first: 0, count: 1 } };
      expect(() => compiled({ loss: loss(1) }, 1).inParts(ofTwo)).not.toThrow();
      expect(() => compiled({ loss: loss(2) }, 1).inParts(ofTwo)).toThrow("is followed by layers (contract at ");
    },
  );

  it("where a batch has a fixed size", () => {
    const six = axis("batch", 6);
    refuses((p) => {
      const x = mul(input("x", "f32", [six, feature]), p.parameter("w", [feature], uniform(-1, 1)));
      return { loss: mean(softmax(x, six), [six, feature]) as Tensor<never> };
    }, 'give their axis "batch" the size symbol("batch")');
  });

  it("where an input has two axes as long as the batch", () =>
    refuses(
      (p) => ({
        loss: mul(across(tower(p, "left")), mean(input("table", "f32", [batch, pair]), [batch, pair])) as never,
      }),
      "a value of each sample is as long as the batch (input at ",
    ));

  it("where past the cut an input is read that no sample has", () =>
    refuses(
      (p) => ({ loss: mul(across(tower(p, "left")), input("heat", "f32", [])) as never }),
      'then reads an input without the axis "batch" (input at ',
    ));

  it("not where a sample's part knows how many samples there are: that is past the cut", async () => {
    const many = (p: Params): LossResult => {
      const x = tower(p, "left");
      const share = div(x, ops.sizeOf(batch.size) as Tensor<never>) as Tensor<"batch" | "feature">;
      const placed = add(share, mul(cast(iota(batch), "f32"), 0.01)) as Tensor<"batch" | "feature">;
      return { loss: mul(across(placed), sum(placed, [batch, feature])) as Tensor<never> };
    };
    const want = await run("whole", 3, compiled({ loss: many }, 1), referenceBackend());
    const got = await run("parts", 3, compiled({ loss: many }, 4), referenceBackend());
    expect(excess(got.losses, want.losses, 1e-9, 1e-9)).toBeLessThanOrEqual(0);
    expect(excess(got.values, want.values, 1e-7, 1e-7)).toBeLessThanOrEqual(0);
  });
});
