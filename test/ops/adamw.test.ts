/** AdamW's arithmetic, by every executor: the first updates to the last bits, and a counter that never sticks. */
import { describe, expect } from "vitest";
import { inputName } from "../../compiler/index.ts";
import {
  axis,
  constantRate,
  cosine,
  defineStage,
  input,
  mul,
  optimizerState,
  sum,
  trainingState,
  trainingStep,
  zeros,
} from "../../dsl/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { execute, executorNames } from "../support/executors.ts";
import { excess } from "../support/samples.ts";

const weight = axis("weight", 4);
const [beta1, beta2] = [0.9, 0.999];

/** Σ w·x, so that the gradient of w is x to the bit. */
const stepWith = (rate: ReturnType<typeof constantRate>) =>
  trainingStep(
    defineStage({
      name: "sums",
      loss: (p) => ({ loss: sum(mul(p.parameter("w", [weight], zeros), input("x", "f32", [weight])), weight) }),
      optimizer: { rate, beta1, beta2, weightDecay: 0 },
    }),
  ).graph;

const gradient = [0.5, -2, 1e-3, 3].map(Math.fround);
const mean = [0.1, -0.3, 1e-4, 0.7].map(Math.fround);
const square = [0.2, 0.9, 1e-6, 0.4].map(Math.fround);

/** What a step reads at the start of step `t`, from 1: at the first both moments are 0. */
function before(graph: ReturnType<typeof stepWith>, t: number): Map<string, Float64Array> {
  const values: Record<string, readonly number[]> = {
    x: gradient,
    [optimizerState("mean")]: t === 1 ? [0, 0, 0, 0] : mean,
    [optimizerState("square")]: t === 1 ? [0, 0, 0, 0] : square,
    [trainingState.step]: [t - 1],
  };
  return new Map(
    graph.inputs.map((n) => {
      const length = n.type.axes.reduce((total, a) => total * Number(a.size), 1);
      const own = values[inputName(n)] ?? [];
      return [inputName(n), Float64Array.from({ length }, (_, i) => own[i] ?? 0)]; // an arena may be longer
    }),
  );
}

/** The step that is subtracted at a rate of 1, in float64. */
function direction(t: number): number[] {
  const [m, v] =
    t === 1
      ? [
          [0, 0, 0, 0],
          [0, 0, 0, 0],
        ]
      : [mean, square];
  return gradient.map((g, i) => {
    const corrected = (beta1 * m[i]! + (1 - beta1) * g) / -Math.expm1(t * Math.log(beta1));
    const size = (beta2 * v[i]! + (1 - beta2) * g * g) / -Math.expm1(t * Math.log(beta2));
    return corrected / (Math.sqrt(size) + 1e-8);
  });
}

describe.each(executorNames)("by %s", (executor) => {
  gpuTest.for([1, 2, 3, 10, 100, 1e4, 1e6])("step %d is exact to 2e-6", async (t, { gpu }) => {
    const graph = stepWith(constantRate(1));
    const got = await execute(executor, gpu, graph, before(graph, t));
    const moved = Array.from(got.get("parameters")!).slice(0, 4);
    const want = direction(t).map((d) => -d);
    expect(excess(moved, want, 0, executor === "reference" ? 1e-12 : 2e-6)).toBeLessThanOrEqual(0);
  });

  gpuTest.for([2 ** 24, 2 ** 24 + 1, 2 ** 30])("after %d steps comes the next", async (done, { gpu }) => {
    const graph = stepWith(cosine({ peak: 1e-3, steps: 100 }));
    const got = await execute(executor, gpu, graph, before(graph, done + 1));
    expect(got.get("step")![0]).toBe(done + 1);
  });
});
