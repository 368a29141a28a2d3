/** An update reads gradients, parameters and moments and writes them in place: nothing else is as large as they are. */
import { expect, test } from "vitest";
import { baselineFacts, bindSizes, compileKernels, type Precision } from "../../compiler/index.ts";
import { axis, constantRate, defineStage, input, linear, mean, trainingStep } from "../../dsl/index.ts";

const [row, embed, hidden] = [axis("row", 5), axis("embed", 96), axis("hidden", 96)];

const stage = (precision: Precision) =>
  defineStage({
    name: "update",
    loss: (p) => {
      const x = linear(p.scope("a"), input("x", "f32", [row, embed]), [embed], [hidden]);
      return { loss: mean(linear(p.scope("b"), x, [hidden], [embed]), [row, embed]) };
    },
    precision,
    optimizer: { rate: constantRate(1e-3), clip: 1 },
  });

test.each([
  ["f32", 8],
  ["f16", 8],
  ["f16", 10],
] as const)("%s in kernels of %i bindings: one copy of the gradients", (precision, maxBindings) => {
  const { graph } = trainingStep(stage(precision));
  const arena = 4 * (2 * 96 * 96 + 2 * 96);
  const { plan } = compileKernels(bindSizes(graph, {}), { ...baselineFacts, maxBindings }, { precision });
  expect(plan.slots.filter((slot) => Math.max(...slot.map(Number)) >= arena)).toHaveLength(1);
});
