/**
 * A small job with everything that a run must save: f16 with a loss scale that is halved at overflows, gradient
 * accumulation, dropout, an EMA of the weights, a schedule, and a validation that keeps the best weights.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { hostTensor, makeGraph, type SizedAxis } from "../../../compiler/index.ts";
import {
  add,
  axis,
  constantInit,
  cosine,
  defineStage,
  dropout,
  gelu,
  input,
  linear,
  mean,
  mul,
  type Params,
  rootParams,
  type Stage,
  sqrt,
  sub,
  symbol,
  trainingStep,
} from "../../../dsl/index.ts";
import { defineJob, randomStream, type TrainingJob, type Validation } from "../../../runtime/index.ts";

const batch = axis("batch", symbol("batch"));
const [wide, hidden, one] = [axis("wide", 6), axis("hidden", 9), axis("one", 1)];

/** The squared errors for y, and √(w²·s²), whose gradient is NaN where s is 0 while its value is finite. */
function errors(p: Params) {
  const x = input("x", "f32", [batch, wide]);
  const h = dropout(p, gelu(linear(p.scope("in"), x, [wide], [hidden])), [batch, hidden], 0.2);
  const apart = sub(linear(p.scope("out"), h, [hidden], [one]), input("y", "f32", [batch, one]));
  const kink = mul(p.parameter("slope", [one], constantInit(1)), input("s", "f32", [batch, one]));
  return { error: mul(apart, apart), kink: sqrt(mul(kink, kink)) };
}

const error = (p: Params) => mean(errors(p).error, [batch, one]);

/** The stage of the job, or one with other settings. */
export const stepOf = (change: Partial<Stage> = {}) =>
  trainingStep(
    defineStage({
      name: "hard",
      precision: "f16",
      accumulate: 2,
      ema: { decay: 0.9 },
      loss: (p) => {
        const { error, kink } = errors(p);
        const loss = mean(add(error, mul(kink, 1e-3)), [batch, one]);
        return { loss };
      },
      optimizer: { rate: cosine({ peak: 3e-2, steps: 40, warmup: 3 }), clip: 1 },
      ...change,
    }),
  );

const rows = 4;

/** Batches whose gradients are not finite. */
const overflows = [5, 12];

/** A batch, which depends on its number alone. */
function feeds(position: number, stream = "train") {
  const draw = randomStream(5, stream);
  const x = draw.fill({ kind: "normal", mean: 0, std: 1 }, rows * 6, position);
  const y = Float32Array.from({ length: rows }, (_, i) => Math.sin(x[6 * i]!) + x[6 * i + 1]! * x[6 * i + 2]!);
  const s = new Float32Array(rows).fill(overflows.includes(position) ? 0 : 1);
  const sized = (...axes: SizedAxis[]): SizedAxis[] => [{ name: "batch", size: rows }, ...axes];
  return {
    x: hostTensor("f32", sized({ name: "wide", size: 6 }), x),
    y: hostTensor("f32", sized({ name: "one", size: 1 }), y),
    s: hostTensor("f32", sized({ name: "one", size: 1 }), s),
  };
}

function validation(): Validation {
  const graph = makeGraph("error", [{ name: "error", node: error(rootParams()) }]);
  const { x, y } = feeds(0, "validation");
  return {
    every: 3,
    run: async ({ evaluate }) => ({ error: (await evaluate(graph, { x, y })).error!.data[0]! }),
    best: { metric: "error", mode: "min" },
  };
}

export interface HardSettings {
  readonly steps: number;
  readonly checkpointEvery: number;
  readonly delay: number;
  readonly validate: boolean;
}

export const hardSettings: HardSettings = { steps: 12, checkpointEvery: 4, delay: 0, validate: true };

export const hardJob = ({ steps, checkpointEvery, delay, validate }: HardSettings): TrainingJob => ({
  step: stepOf(),
  steps,
  sizes: { batch: rows },
  seed: 7,
  checkpointEvery,
  ...(validate && { validate: validation() }),
  async *batches(cursor) {
    for (let position = (cursor as number | undefined) ?? 0; ; position++) {
      if (delay > 0) await sleep(delay);
      yield { feeds: feeds(position), next: position + 1 };
    }
  },
});

export default defineJob({
  name: "hard",
  summary: "a small job with all that a run has to keep",
  config: { ...hardSettings },
  mayChange: ["delay"],
  build: async (settings) => hardJob(settings),
});
