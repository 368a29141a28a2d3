/** An update reads gradients, parameters and moments and writes them in place: nothing else is as large as they are. */
import { expect, test } from "vitest";
import { bindSizes, compileKernels, memoryOf, type Precision } from "../../compiler/index.ts";
import {
  axis,
  constantRate,
  crossEntropy,
  defineStage,
  gelu,
  input,
  linear,
  mean,
  trainingStep,
} from "../../dsl/index.ts";

const [row, embed, hidden] = [axis("row", 64), axis("embed", 1024), axis("hidden", 1024)];

const activations = (precision: Precision): number => {
  const stage = defineStage({
    name: "update",
    loss: (p) => {
      const x = gelu(linear(p.scope("a"), input("x", "f32", [row, embed]), [embed], [hidden]));
      const y = linear(p.scope("b"), x, [hidden], [embed]);
      return { loss: mean(crossEntropy(y, input("label", "i32", [row]), embed), row) };
    },
    precision,
    optimizer: { rate: constantRate(1e-3), clip: 1 },
  });
  return memoryOf(compileKernels(bindSizes(trainingStep(stage).graph, {}))).activations;
};

test("a loss scale that adapts takes no further copy of the gradients, in kernels of 8 bindings", () => {
  const arena = 4 * 2 * 1024 * 1024;
  expect(activations("f16")).toBeLessThan(activations("f32") + arena / 4);
});
