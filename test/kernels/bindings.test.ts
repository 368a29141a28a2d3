/** No kernel binds more buffers than the adapter grants to one, however many results its group has. */
import { expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { baselineFacts, bindSizes, compileKernels, makeGraph } from "../../compiler/index.ts";
import { axis, concat, configure, input, mul, parseSettings, sum, trainingStep } from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";
import { inputValues } from "../support/random-graph.ts";
import { compileFor, interpretProgram } from "./support.ts";

it.each([
  ["internvit-6b-upernet", "head", ["depth=4", "blocks=[1,2,3,4]"]],
  ["internvl-g", "retrieval", ["vision.depth=1", "text.depth=2"]],
])("%s, stage %s", (name, stage, settings) => {
  const model = bundledModels.find((m) => m.name === name)!;
  const { graph } = trainingStep(model.stages![stage]!(configure(model, parseSettings(model, settings))).stage);
  const { kernels } = compileKernels(bindSizes(graph, { batch: 1 }));
  for (const { kernel } of kernels) expect(kernel.buffers.length).toBeLessThanOrEqual(baselineFacts.maxBindings);
});

it("splits a group of reductions, which still compute what they should", () => {
  const [row, column] = [axis("row", 7), axis("column", 5)];
  const x = input("x", "f32", [row, column]);
  const sums = Array.from({ length: 6 }, (_, i) => sum(mul(x, input(`y${i}`, "f32", [row, column])), row));
  const graph = makeGraph("sums", [{ name: "all", node: concat(sums, column) }]);
  const values = inputValues(graph, 3);
  const program = compileFor(graph, { ...baselineFacts, maxBindings: 5 });
  for (const { kernel } of program.kernels) expect(kernel.buffers.length).toBeLessThanOrEqual(5);
  const [got, want] = [interpretProgram(program, values).get("all")!, evaluate(graph, values).get("all")!.data];
  for (const [i, value] of got.entries()) expect(Math.abs(value - want[i]!)).toBeLessThan(1e-4);
});
