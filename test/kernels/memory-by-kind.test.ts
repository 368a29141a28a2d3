/** The memory of a training step by kind: sums to what buffers take, and each kind is counted by hand. */
import { expect, test } from "vitest";
import { compileKernels, memoryOf } from "../../compiler/index.ts";
import {
  axis,
  constantRate,
  defineStage,
  gelu,
  input,
  linear,
  mean,
  mul,
  type Stage,
  stepMemory,
  symbol,
  trainingStep,
} from "../../dsl/index.ts";

const [width, hidden, rows] = [8, 12, 64];
const batch = axis("batch", symbol("batch"));

const stage = (more: Partial<Stage> = {}) =>
  trainingStep(
    defineStage({
      name: "s",
      trainable: ["up.**"],
      loss: (p) => {
        const [e, h] = [axis("embed", width), axis("hidden", hidden)];
        const x = input("x", "f32", [batch, e]);
        const up = gelu(linear(p.scope("up"), x, [e], [h]));
        const down = linear(p.scope("down"), up, [h], [e], { bias: false });
        return { loss: mean(mul(down, down), [batch, e]) };
      },
      optimizer: { rate: constantRate(1e-3), clip: 1 },
      ...more,
    }),
  );

const sum = (memory: Readonly<Record<string, number>>) => Object.values(memory).reduce((a, b) => a + b, 0);

test("each kind is what it is by hand, and all of them are what buffers take", () => {
  const step = stage({ ema: { decay: 0.9 } });
  const program = compileKernels(step.graph);
  const memory = stepMemory(step, [program], { batch: rows });
  const arena = 4 * (128 + 64); // 96 weights and 12 biases, each from a multiple of 64 on
  expect(memory).toMatchObject({
    "trained parameters": arena,
    "frozen parameters": 4 * width * hidden,
    "optimizer, mean": arena,
    "optimizer, square": arena,
    averages: arena,
    "other state": 4,
    inputs: 4 * rows * width,
  });
  expect(memory.gradients).toBeGreaterThanOrEqual(arena);
  // The gelu's operand, which its gradient reads; down's result, of which the loss is made.
  expect(memory["saved for backward"]).toBeGreaterThanOrEqual(4 * rows * hidden);
  const { parameters, inputs, activations } = memoryOf(program, { batch: rows });
  expect(sum(memory) - (memory.tables ?? 0)).toBe(parameters + inputs + activations);
});

test("what two graphs of a step keep in the store is counted once", () => {
  const step = stage({ accumulate: 4 });
  const programs = [step.graph, step.accumulation!.update].map((g) => compileKernels(g));
  const memory = stepMemory(step, programs, { batch: rows });
  expect(memory["sums of accumulation"]).toBe(4 * (128 + 64) + 4);
  expect(memory["trained parameters"]).toBe(4 * (128 + 64));
});
