/**
 * Fifty steps of small models beside PyTorch: every update rule, schedule, and what a stage may ask besides.
 * scripts/reference/optimizers.py made the fixture.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type HostTensor, hostTensor, inputName, type SizedAxis } from "../../compiler/index.ts";
import {
  adam,
  add,
  axis,
  constantRate,
  contract,
  cosine,
  crossEntropy,
  defineStage,
  exp,
  gelu,
  input,
  inSequence,
  iota,
  type LossResult,
  l2Normalize,
  lamb,
  linear,
  linearRate,
  lion,
  mean,
  mul,
  type Params,
  rename,
  type Stage,
  scale,
  sgd,
  steppedRate,
  symbol,
  type Tensor,
  trainingStep,
  uniform,
  warmUp,
} from "../../dsl/index.ts";
import { train } from "../../runtime/index.ts";
import { excess } from "../support/samples.ts";

interface Recorded {
  readonly losses: readonly number[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
}
const path = join(import.meta.dirname, "../fixtures/training/optimizers.json");
const recorded: Readonly<Record<string, Recorded>> = JSON.parse(readFileSync(path, "utf8"));

const batch = axis("batch", symbol("batch"));
const pair = axis("pair", batch.size);
const [from, hidden, kind] = [axis("from", 6), axis("hidden", 5), axis("kind", 4)];
const [x, y] = [input("x", "f32", [batch, from]), input("y", "f32", [batch, from])];

function classifier(p: Params): LossResult {
  const logits = linear(p.scope("out"), gelu(linear(p.scope("hidden"), x, [from], [hidden])), [hidden], [kind]);
  return { loss: mean(crossEntropy(logits, input("label", "i32", [batch]), kind), batch) };
}

function towers(p: Params): LossResult {
  const left = l2Normalize(linear(p.scope("left"), x, [from], [hidden]), hidden);
  const right = rename(l2Normalize(linear(p.scope("right"), y, [from], [hidden]), hidden), batch, pair);
  const logits = mul(contract(left, right, hidden), exp(p.parameter("warmth", [], uniform(0, 1))));
  const [byLeft, byRight] = [crossEntropy(logits, iota(batch), pair), crossEntropy(logits, iota(pair), batch)];
  return { loss: scale(add(mean(byLeft, batch), mean(byRight, pair)) as Tensor<never>, 0.5) };
}

const [wide, mixed] = [axis("wide", 48), axis("mixed", 48)];

/** A layer in the middle of two, wide enough to be kept as integers where it does not learn. */
function frozenBetween(p: Params): LossResult {
  const lifted = gelu(linear(p.scope("lift"), x, [from], [wide]));
  const middle = gelu(linear(p.scope("middle"), lifted, [wide], [mixed]));
  const logits = linear(p.scope("out"), middle, [mixed], [kind]);
  return { loss: mean(crossEntropy(logits, input("label", "i32", [batch]), kind), batch) };
}

const rate = constantRate(0.01);
const optimizer: Stage["optimizer"] = { rate, weightDecay: 0.1 };
const adapted = { pattern: "hidden", rank: 2, alpha: 3 };
const warmCosine = cosine({ peak: 0.01, steps: 50, warmup: 5, floor: 0.001 });
const warmSteps = inSequence(
  { schedule: warmUp({ peak: 0.01, steps: 4 }), steps: 4 },
  { schedule: steppedRate({ rate: 0.01, factor: 0.5, after: 10 }) },
);
/** What each case changes of a classifier that AdamW trains. */
const cases: Readonly<Record<string, Partial<Stage>>> = {
  adamw: {},
  adam: { optimizer: { ...optimizer, rule: adam() } },
  sgd: { optimizer: { ...optimizer, rule: sgd() } },
  momentum: { optimizer: { ...optimizer, rule: sgd({ momentum: 0.9 }) } },
  nesterov: { optimizer: { ...optimizer, rule: sgd({ momentum: 0.9, nesterov: true }) } },
  lamb: { optimizer: { ...optimizer, rule: lamb() } },
  lion: { optimizer: { ...optimizer, rule: lion() } },
  "warm-up and cosine": { optimizer: { ...optimizer, rate: warmCosine } },
  linear: { optimizer: { ...optimizer, rate: linearRate({ from: 0.01, to: 0.002, steps: 40 }) } },
  steps: { optimizer: { ...optimizer, rate: steppedRate({ rate: 0.01, factor: 0.5, after: 10 }) } },
  "steps listed": { optimizer: { ...optimizer, rate: steppedRate({ rate: 0.01, after: [20, 35] }) } },
  "one after another": { optimizer: { ...optimizer, rate: warmSteps } },
  clip: { optimizer: { ...optimizer, clip: 0.3 } },
  ema: { ema: { decay: 0.9 } },
  accumulate: { accumulate: 4 },
  lora: { lora: adapted },
  int8: { loss: frozenBetween, trainable: ["lift.**", "out.**"], frozen: "int8" },
  "int8 below lora, averaged": {
    ...{ loss: frozenBetween, lora: { ...adapted, pattern: "middle" }, frozen: "int8" },
    ...{ ema: { decay: 0.9 }, accumulate: 2, optimizer: { ...optimizer, clip: 0.5 } },
  },
  towers: { loss: towers, optimizer: { ...optimizer, rule: sgd({ momentum: 0.9 }) } },
  "lamb with all": {
    ...{ ema: { decay: 0.9 }, accumulate: 4 },
    optimizer: { ...optimizer, rule: lamb(), clip: 0.3, rate: warmSteps },
  },
  "lion with all": {
    ...{ ema: { decay: 0.8 }, accumulate: 2 },
    optimizer: { ...optimizer, rule: lion(), clip: 0.3, rate: linearRate({ from: 0.01, to: 0.002, steps: 40 }) },
  },
  "nesterov of lora with all": {
    ...{ lora: adapted, ema: { decay: 0.9 }, accumulate: 4 },
    optimizer: { ...optimizer, rule: sgd({ momentum: 0.9, nesterov: true }), clip: 0.2, rate: warmCosine },
  },
};

const sines = (count: number, speed: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(speed * (i + 1)));

/** Weights as the script begins with them: of its `i`th parameter. */
function initial(name: string, shape: readonly number[], order: readonly string[]): Float32Array {
  const count = shape.reduce((n, d) => n * d, 1);
  if (shape.length === 0) return Float32Array.of(1);
  if (name.endsWith(".lora_a")) return sines(count, 2.3);
  if (name.endsWith(".lora_b")) return sines(count, 0.4);
  return sines(count, 1.1 + 0.3 * order.indexOf(name)).map((v) => v * (shape.length > 1 ? 0.5 : 0.1));
}
const orders = {
  classifier: ["hidden.weight", "hidden.bias", "out.weight", "out.bias"],
  int8: ["lift.weight", "lift.bias", "middle.weight", "middle.bias", "out.weight", "out.bias"],
  towers: ["warmth", "left.weight", "left.bias", "right.weight", "right.bias"],
};

const orderOf = (name: string): readonly string[] =>
  name === "towers" ? orders.towers : name.startsWith("int8") ? orders.int8 : orders.classifier;

const rows = 8;
/** Rows of batch `t`, as many of its `parts` as one of them. */
function feeds(t: number, part: number, parts: number): Record<string, HostTensor> {
  const [size, first] = [rows / parts, (part * rows) / parts];
  const own = { name: "batch", size };
  const of = (speed: number) =>
    hostTensor("f32", [own, { name: "from", size: 6 }], sines(rows * 6, speed).slice(6 * first, 6 * (first + size)));
  const label = Array.from({ length: size }, (_, i) => (3 * (first + i) + t) % 4);
  return { x: of(0.7 + 0.1 * (t % 5)), y: of(1.9 + 0.1 * (t % 3)), label: hostTensor("i32", [own], label) };
}

const root = mkdtempSync(join(tmpdir(), "heddle-parity-"));
afterAll(() => rmSync(root, { recursive: true }));

async function trained(name: string, changes: Partial<Stage>) {
  const step = trainingStep(defineStage({ name: "parity", loss: classifier, optimizer, ...changes }));
  const parts = step.accumulation?.count ?? 1;
  const fed = new Set([step.graph, step.accumulation?.cached?.features].flatMap((g) => g?.inputs.map(inputName) ?? []));
  const order = orderOf(name);
  const shapes = new Map(
    [...step.trained, ...step.frozen].map((n) => [inputName(n), n.type.axes as readonly SizedAxis[]]),
  );
  const { losses, weights } = await train(
    {
      step,
      seed: 1,
      steps: 50,
      sizes: { batch: rows / parts },
      checkpointEvery: 1000,
      initial: async (of) => {
        const axes = shapes.get(of)!;
        const shape = axes.map((a) => a.size);
        return hostTensor("f32", axes, initial(of, shape, order));
      },
      async *batches() {
        for (let i = 0; ; i++) {
          const all = Object.entries(feeds(Math.floor(i / parts), i % parts, parts));
          yield { feeds: Object.fromEntries(all.filter(([k]) => fed.has(k))), next: i };
        }
      },
    },
    { folder: mkdtempSync(join(root, "run-")), backend: referenceBackend(), note: () => {} },
  );
  return { losses: losses.map((l) => l.loss), weights };
}

/** The recorded weights of a plain model, with a low-rank update merged into what it is an update of. */
function plain(name: string, { weights }: Recorded): Record<string, readonly number[]> {
  const { down, up } = weights;
  if (!name.startsWith("int8")) {
    if (!down || !up) return weights;
    const base = Object.entries(weights).filter(([of]) => of.startsWith("base."));
    const merged = updated(weights["base.hidden.weight"]!, down, up);
    return { ...Object.fromEntries(base.map(([of, w]) => [of.slice(5), w])), "hidden.weight": merged };
  }
  // What does not learn is written as it was given, whatever it was kept as.
  const sizes = { "lift.weight": [48, 6], "middle.weight": [48, 48], "out.weight": [4, 48], "out.bias": [4] };
  const given = orders.int8.map((of) => {
    const shape = (sizes as Readonly<Record<string, readonly number[]>>)[of] ?? [48];
    return [of, Array.from(initial(of, shape, orders.int8))] as const;
  });
  const all: Record<string, readonly number[]> = { ...Object.fromEntries(given), ...(down ? {} : weights) };
  return down && up ? { ...all, "middle.weight": updated(all["middle.weight"]!, down, up) } : all;
}

/** weight [out, in] + 3/2 up [out, 2] · down [2, in] */
function updated(weight: readonly number[], down: readonly number[], up: readonly number[]): readonly number[] {
  const width = down.length / 2;
  return weight.map((w, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return w + 1.5 * (up[2 * row]! * down[column]! + up[2 * row + 1]! * down[width + column]!);
  });
}

describe("fifty steps as in PyTorch", () => {
  const agree = async (name: string, changes: Partial<Stage>) => {
    const want = recorded[name]!;
    const got = await trained(name, changes);
    expect(excess(got.losses, want.losses, 1e-7, 1e-7)).toBeLessThanOrEqual(0);
    const weights = plain(name, want);
    expect([...got.weights.keys()].sort()).toEqual(Object.keys(weights).sort());
    for (const [of, values] of Object.entries(weights))
      expect(excess(got.weights.get(of)!.data, values, 2e-7, 2e-7), of).toBeLessThanOrEqual(0); // f32 when they are read
  };
  it("are all that were recorded", () => expect(Object.keys(cases)).toEqual(Object.keys(recorded)));
  it.each(Object.entries(cases))("with %s", agree);
  it("with two towers whose gradients are cached", () => agree("towers", { ...cases.towers, accumulate: 4 }));
});
