/** Jobs that several ranks train as one process does, and what is compared of them. */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Backend, Store } from "../../backends/backend.ts";
import { type HostTensor, hostTensor, inputName, makeGraph, type SizedAxis } from "../../compiler/index.ts";
import {
  adamw,
  add,
  argmax,
  axis,
  cast,
  contract,
  crossEntropy,
  defineStage,
  div,
  dropPath,
  eq,
  gather,
  gelu,
  gt,
  input,
  iota,
  type LossResult,
  l2Normalize,
  lamb,
  linear,
  lion,
  max,
  mean,
  mul,
  type Params,
  random,
  rename,
  rootParams,
  type Stage,
  select,
  sgd,
  sqrt,
  stopGradient,
  sum,
  symbol,
  type Tensor,
  trainingStep,
  uniform,
} from "../../dsl/index.ts";
import { initialValue, oneRank, type Ranks, type TrainingJob, train } from "../../runtime/index.ts";
import { fedInputs } from "../../runtime/training/share.ts";
import { seeded } from "../support/samples.ts";
import { buffers, refused } from "./buffer-cases.ts";
import type { Case } from "./case.ts";
import { norms, refusedNorms } from "./norm-cases.ts";

const batch = axis("batch", symbol("batch"));
const pair = axis("pair", batch.size);
const [token, embed, feature, word] = [axis("token", 3), axis("embed", 5), axis("feature", 7), axis("word", 4)];

const tower = (p: Params, name: string) => {
  const y = linear(p.scope(name), gelu(input(name, "f32", [batch, embed])), [embed], [feature]);
  const dropped = mul(y, p.bernoulli(`${name}_dropout`, [batch, feature], 0.75)) as Tensor<"batch" | "feature">;
  return add(y, dropPath(p.scope(name), dropped, batch, 0.3)) as Tensor<"batch" | "feature">;
};

const means = (p: Params): LossResult => {
  const y = tower(p, "left");
  return { loss: mean(mul(y, y), [batch, feature]) as Tensor<never>, metrics: { first: mean(y, [batch, feature]) } };
};

/** The mean over tokens with a target, of which samples have different numbers. */
const tokens = (p: Params): LossResult => {
  const logits = linear(p.scope("head"), gelu(input("x", "f32", [batch, token, embed])), [embed], [word]);
  const target = input("target", "i32", [batch, token]);
  const wanted = cast(gt(target, 0), "f32") as Tensor<"batch" | "token">;
  const count = sum(wanted, [batch, token]) as Tensor<never>;
  const each = mul(crossEntropy(logits, target, word), wanted) as Tensor<"batch" | "token">;
  return { loss: div(sum(each, [batch, token]), max(count, 1)) as Tensor<never>, weight: count };
};

/** Means over tokens of two kinds and over samples. */
const several = (p: Params): LossResult => {
  const logits = linear(p.scope("head"), gelu(input("x", "f32", [batch, token, embed])), [embed], [word]);
  const target = input("target", "i32", [batch, token]);
  const each = crossEntropy(logits, target, word) as Tensor<"batch" | "token">;
  const over = (least: number) => {
    const wanted = cast(gt(target, least), "f32") as Tensor<"batch" | "token">;
    return div(sum(mul(each, wanted), [batch, token]), max(sum(wanted, [batch, token]), 1)) as Tensor<never>;
  };
  return {
    losses: [
      { name: "some", loss: over(0) },
      { name: "few", loss: over(1), weight: 0.5 },
      { name: "all", loss: mean(each, [batch, token]) as Tensor<never> },
    ],
  };
};

/** A mean of |x w|, which has no slope where x is 0: one rank alone has such a sample, and all skip the step. */
const lengths = (p: Params): LossResult => {
  const x = mul(input("x", "f32", [batch, embed]), input("unless_zero", "f32", [batch]));
  const y = mul(x, p.parameter("w", [embed], uniform(0.5, 1)));
  return { loss: mean(sqrt(mul(y, y)), [batch, embed]) as Tensor<never> };
};

/** Rows that say by number which other of their micro-batch they see, as conversations that share a row do. */
const packed = (p: Params): LossResult => {
  const x = input("x", "f32", [batch, embed]);
  const seen = gather(rename(x, batch, pair), input("other", "i32", [batch]), pair);
  const y = linear(p.scope("head"), gelu(add(x, mul(seen, 0.5)) as typeof x), [embed], [feature]);
  const wanted = cast(gt(input("marked", "i32", [batch]), 0), "f32");
  const count = sum(wanted, [batch]) as Tensor<never>;
  const each = mul(mean(mul(y, y), [feature]) as Tensor<"batch">, wanted) as Tensor<"batch">;
  return { loss: div(sum(each, [batch]), max(count, 1)) as Tensor<never>, weight: count, apart: true };
};

/** Two towers and a temperature that is a parameter of what compares them. */
const contrast = (p: Params): LossResult => {
  const [left, right] = [l2Normalize(tower(p, "left"), feature), l2Normalize(tower(p, "right"), feature)];
  const warmth = p.parameter("warmth", [], uniform(1, 2));
  const logits = mul(contract(left, rename(right, batch, pair), feature), warmth);
  return { loss: mean(crossEntropy(logits, iota(batch), pair), batch) as Tensor<never>, metrics: { warmth } };
};

/** For each sample another one, drawn from the whole batch by its similarity, with which layers go on. */
const mined = (p: Params): LossResult => {
  const encoded = (name: string) =>
    l2Normalize(linear(p.scope(name), gelu(input(name, "f32", [batch, embed])), [embed], [feature]), feature);
  const [left, right] = [encoded("left"), encoded("right")];
  const logits = contract(left, rename(right, batch, pair), feature) as Tensor<"batch" | "pair">;
  const noise = random("noise", [batch, pair], uniform(0, 1));
  const others = select(eq(iota(batch), iota(pair)), -9, add(stopGradient(logits), noise));
  const drawn = gather(rename(right, batch, pair), argmax(others, pair), pair) as typeof left;
  const y = linear(p.scope("judge"), gelu(mul(left, drawn)), [feature], [word]);
  const kept = cast(gt(mean(left, feature), -0.1), "f32") as Tensor<"batch">;
  const judged = mul(mean(mul(y, y), word), kept) as Tensor<"batch">;
  const byContrast = mean(crossEntropy(logits, iota(batch), pair), batch);
  const byJudge = div(sum(judged, batch), max(sum(kept, batch), 1));
  return { loss: add(byContrast, byJudge) as Tensor<never>, metrics: { judged: byJudge as Tensor<never> } };
};

/** Four layers, of which each is more than what a rank may have of all. */
const layers = (p: Params): LossResult => {
  const [wide, narrow] = [axis("wide", 64), axis("narrow", 32)];
  let x = input("x", "f32", [batch, narrow]) as Tensor<"batch" | "narrow">;
  for (const name of ["first", "second"]) {
    const up = gelu(linear(p.scope(`${name}_up`), x, [narrow], [wide], { bias: false }));
    x = linear(p.scope(`${name}_down`), up, [wide], [narrow], { bias: false });
  }
  return { loss: mean(mul(x, x), [batch, narrow]) as Tensor<never> };
};

/** Averages, and rules with norms of whole parameters. */
export const sharded: Readonly<Record<string, Case>> = {
  "layers averaged, in parts of momentum": {
    loss: layers,
    samples: 7,
    accumulate: 1,
    optimizer: { rule: lion() },
    shard: "optimizer",
    isValidated: true,
    ema: 0.5,
  },
  "layers averaged, in parts of gradients": {
    loss: layers,
    samples: 8,
    accumulate: 1,
    optimizer: { rule: adamw() },
    shard: "gradients",
    isValidated: true,
    ema: 0.75,
  },
  "layers averaged by LAMB, in parts of weights": {
    loss: layers,
    samples: 8,
    accumulate: 1,
    optimizer: { rule: lamb(), weightDecay: 0.1 },
    trainable: ["first_down.*", "second_up.*", "second_down.*"],
    shard: "weights",
    isValidated: true,
    ema: 0.75,
  },
  "layers by LAMB, in parts of its state": {
    loss: layers,
    samples: 6,
    accumulate: 2,
    optimizer: { clip: 0.1, weightDecay: 0.1, rule: lamb() },
    shard: "optimizer",
  },
  "contrastive by LAMB, in parts of gradients": {
    loss: contrast,
    samples: 14,
    accumulate: 2,
    optimizer: { rule: lamb() },
    shard: "gradients",
  },
  "skipped by LAMB, in f16, in parts of its state": {
    loss: lengths,
    samples: 4,
    accumulate: 1,
    precision: "f16",
    optimizer: { rule: lamb() },
    shard: "optimizer",
  },
};

export const cases: Readonly<Record<string, Case>> = {
  "means, accumulated": { loss: means, samples: 12, accumulate: 3 },
  "means of an uneven batch": { loss: means, samples: 7, accumulate: 1 },
  "tokens, uneven and accumulated": { loss: tokens, samples: 6, accumulate: 2 },
  contrastive: { loss: contrast, samples: 8, accumulate: 1 },
  "contrastive, accumulated": { loss: contrast, samples: 12, accumulate: 2 },
  "mined from the whole batch": { loss: mined, samples: 7, accumulate: 1 },
  "mined of 12": { loss: mined, samples: 12, accumulate: 1 },
  "mined of 12, accumulated": { loss: mined, samples: 12, accumulate: 3 },
  "mined, accumulated, in parts of weights": { loss: mined, samples: 12, accumulate: 2, shard: "weights" },
  "mined, in parts of weights": { loss: mined, samples: 12, accumulate: 1, shard: "weights" },
  // Ranks have micro-batches of different sizes, and some ranks have several.
  "contrastive, uneven and accumulated": { loss: contrast, samples: 9, accumulate: 3 },
  "contrastive, uneven, in parts of weights": {
    loss: contrast,
    samples: 14,
    accumulate: 2,
    optimizer: { rule: sgd({ momentum: 0.9 }) },
    trainable: ["left.*", "warmth"],
    shard: "weights",
  },
  "contrastive of an uneven batch, in parts of gradients": {
    loss: contrast,
    samples: 7,
    accumulate: 1,
    shard: "gradients",
  },
  "tokens, in parts of Adam's state": {
    loss: tokens,
    samples: 6,
    accumulate: 2,
    optimizer: { clip: 0.1, weightDecay: 0.1, rule: adamw() },
    shard: "optimizer",
  },
  "several means, uneven and accumulated": { loss: several, samples: 9, accumulate: 3 },
  "several means, in parts of weights": { loss: several, samples: 7, accumulate: 1, shard: "weights" },
  "packed rows": { loss: packed, samples: 16, accumulate: 4 },
  // Of four ranks one has two micro-batches, and the others have one.
  "tokens, in parts of gradients": {
    loss: tokens,
    samples: 6,
    accumulate: 3,
    optimizer: { clip: 0.1, weightDecay: 0.1, rule: adamw() },
    shard: "gradients",
  },
  "means of an uneven batch, in parts of weights": { loss: means, samples: 7, accumulate: 1, shard: "weights" },
  "contrastive, in parts of weights, some frozen": {
    loss: contrast,
    samples: 12,
    accumulate: 2,
    optimizer: { clip: 0.1, rule: sgd({ momentum: 0.9 }) },
    trainable: ["left.*", "warmth"],
    frozen: "int8",
    shard: "weights",
  },
  "layers, in parts of weights": {
    loss: layers,
    samples: 8,
    accumulate: 1,
    optimizer: { rule: sgd({ momentum: 0.9 }) },
    trainable: ["first_down.*", "second_up.*", "second_down.*"],
    shard: "weights",
    isValidated: true,
  },
  "layers, in parts of gradients": {
    loss: layers,
    samples: 8,
    accumulate: 1,
    optimizer: { rule: sgd({ momentum: 0.9 }) },
    shard: "gradients",
  },
  ...sharded,
  ...buffers,
  ...norms,
  "steps that are skipped, in f16": { loss: lengths, samples: 4, accumulate: 1, precision: "f16" },
  "contrastive, in parts of momentum": {
    loss: contrast,
    samples: 8,
    accumulate: 1,
    optimizer: { clip: 0.1, rule: sgd({ momentum: 0.9 }) },
    shard: "optimizer",
  },
};

/** What its gradient is multiplied by. */
const rate = 0.05;

/** Two parameters of less than 64 elements: ranges of ranks are a parameter, or none. */
const largestArena = 128;

export function jobOf(name: string, steps: number, changes: Partial<TrainingJob> = {}): TrainingJob {
  const {
    loss,
    samples,
    accumulate,
    precision = "f32",
    trainable,
    frozen,
    isValidated,
    ema,
    ...others
  } = { ...cases, ...refused, ...refusedNorms }[name]!;
  const optimizer: Stage["optimizer"] = {
    weightDecay: 0,
    rate: (step) => add(mul(step, 0), rate) as Tensor<never>,
    rule: sgd(),
    ...others.optimizer,
  };
  const kept = { ...(trainable && { trainable }), ...(frozen && { frozen }), ...(ema && { ema: { decay: ema } }) };
  const step = trainingStep(
    defineStage({ name: "shared", loss, optimizer, accumulate, precision, ...kept }),
    largestArena,
  );
  const rows = samples / accumulate;
  return {
    step,
    steps,
    sizes: { batch: rows },
    seed: 7,
    checkpointEvery: 1000,
    async *batches(cursor) {
      for (let at = (cursor as number | undefined) ?? 0; ; at += rows)
        yield { feeds: feedsOf(step, at, rows), next: at + rows };
    },
    ...(isValidated && { validate: validation(loss, step) }),
    ...changes,
  };
}

/** The loss of two samples that are not trained on. */
function validation(loss: Stage["loss"], step: TrainingJob["step"]): NonNullable<TrainingJob["validate"]> {
  const { loss: node } = loss(rootParams()) as { loss: Tensor<never> };
  const graph = makeGraph("validation", [{ name: "loss", node }]);
  const run: NonNullable<TrainingJob["validate"]>["run"] = async ({ evaluate }) => {
    const { loss } = await evaluate(graph, feedsOf(step, 10_000, 2));
    return { loss: loss!.data[0]! };
  };
  return { every: 5, run, best: { metric: "loss", mode: "min" } };
}

/** Samples `from` on, each the same whatever batch it comes in. */
function feedsOf(step: TrainingJob["step"], from: number, rows: number): Record<string, HostTensor> {
  return Object.fromEntries(
    fedInputs(step, "input").map((node) => {
      const name = inputName(node);
      const axes = node.type.axes.map((a) => ({ name: a.name, size: a.name === "batch" ? rows : a.size }) as SizedAxis);
      const each = axes.reduce((n, a) => n * a.size, 1) / rows;
      const values = Array.from({ length: rows }, (_, i) => {
        if (name === "unless_zero") return [(from + i) % 10 === 9 ? 0 : 1];
        const next = seeded(1000 * (from + i + 1) + name.length);
        return Array.from({ length: each }, () =>
          node.type.dtype === "f32" ? 2 * next() - 1 : Math.floor(4 * next()),
        );
      });
      return [name, hostTensor(node.type.dtype, axes, values.flat())];
    }),
  );
}

/** What is compared of a run: its first gradient and its losses. */
export interface Told {
  readonly first: readonly number[];
  readonly losses: readonly number[];
  /** Steps that were skipped. */
  readonly skipped: readonly number[];
  /** Of each rank: the most bytes that its store had at once, by what they are. */
  readonly held: readonly Held[];
  /** Losses of the validation. */
  readonly validated: readonly number[];
  /** Runs that told what had arrived before they had ended. */
  readonly gradual: number;
}

type Held = Readonly<Record<"weights" | "gradients" | "optimizer", number>>;

/**
 * The same backend; the bytes of its stores are counted, and its runs that tell what arrives; those may be made to tell
 * at their end.
 */
function counting(backend: Backend, isGradual: boolean) {
  let gradual = 0;
  const compile: Backend["compile"] = async (graph, options) => {
    const made = await backend.compile(graph, options);
    const run: typeof made.run = (feeds, store, options) => {
      if (options?.arrived) gradual++;
      return made.run(feeds, store, options);
    };
    return { graph, run, dispose: () => made.dispose(), isGradual: isGradual && made.isGradual === true };
  };
  const most = { weights: 0, gradients: 0, optimizer: 0 };
  const kindOf = (name: string): keyof Held | undefined => {
    if (/^train\.(sum|shard)\.gradients/.test(name)) return "gradients";
    if (/^train\.(mean|square|velocity)/.test(name)) return "optimizer";
    return name.startsWith("train.") && !name.startsWith("train.parameters") ? undefined : "weights";
  };
  const counted = (store: Store): Store => {
    const own = new Map<string, number>();
    return Object.assign(Object.create(store) as Store, {
      write: async (name: string, value: HostTensor) => {
        own.set(name, value.data.byteLength);
        const all = { weights: 0, gradients: 0, optimizer: 0 };
        for (const [n, bytes] of own) {
          const kind = kindOf(n);
          if (kind) most[kind] = Math.max(most[kind], (all[kind] += bytes));
        }
        await store.write(name, value);
      },
      remove: (name: string) => {
        own.delete(name);
        store.remove(name);
      },
    });
  };
  return {
    backend: { ...backend, compile, createStore: () => counted(backend.createStore()) },
    most: (): Held => most,
    gradual: () => gradual,
  };
}

/** Bytes of weights and gradients that are whole at a time. */
export const partBytes = 150;

/** Trains a case, which stops after its first step and goes on; of several ranks, the first one tells. */
export async function tell(
  name: string,
  steps: number,
  folder: string,
  backend: Backend,
  ranks: Ranks = oneRank,
  isGradual = true,
): Promise<Told> {
  const own = join(folder, `${name.replaceAll(/[ ,]+/g, "-")}-${isGradual}`);
  await mkdir(own, { recursive: true });
  const { shard } = { ...cases, ...refused, ...refusedNorms }[name]!;
  const counted = counting(backend, isGradual);
  const options = { folder: own, backend: counted.backend, note: () => {}, ranks, partBytes, ...(shard && { shard }) };
  const { weights } = await train(jobOf(name, 1), options);
  const first = await ranks.decide(async () => {
    const before = startOf(jobOf(name, 1));
    return flat(weights).map((w, i) => ((before[i] ?? 0) - w) / rate);
  });
  const { losses } = await train(jobOf(name, steps), { ...options, resume: true });
  const [skipped, validated] = await ranks.decide(async () => {
    const lines = (await readFile(join(own, "metrics.jsonl"), "utf8")).trim().split("\n");
    const all = lines.map((line) => JSON.parse(line) as { step: number } & Record<string, number | undefined>);
    return [all.flatMap((m) => (m.skipped ? [m.step] : [])), all.flatMap((m) => m["validation/loss"] ?? [])] as const;
  });
  const held = await ranks.tell(counted.most());
  return { first, losses: losses.map((l) => l.loss), skipped, held, validated, gradual: counted.gradual() };
}

const flat = (weights: ReadonlyMap<string, HostTensor>): number[] =>
  [...weights].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, t]) => [...t.data]);

const startOf = ({ step, seed }: TrainingJob): number[] =>
  flat(new Map([...step.trained, ...step.frozen].map((n) => [inputName(n), initialValue(n, seed)])));
