/** A few of the combinations that test/onnx/export-matrix/index.ts exports. */
import { afterAll, expect, it } from "vitest";
import { nodesOf } from "../../compiler/index.ts";
import { scratch } from "../cli/support.ts";
import { attempt, fileOf } from "./export-matrix/attempt.ts";
import { combinations, forms, nameOf, sampled, subjects } from "./export-matrix/combinations.ts";

const folder = scratch("export-matrix");
afterAll(() => folder.remove());

const chosen = subjects(["vit-ti-16", "vit-b-16"]);

it("has each combination once, and no graph twice", () => {
  expect(chosen.map((s) => s.name)).toEqual(["vit-ti-16", "vit-ti-16:states"]);
  const all = combinations(chosen).map(({ subject, form }) => `${subject.name} ${nameOf(form)}`);
  expect(new Set(all).size).toBe(all.length);
  expect(all.length).toBe(chosen.length * forms().length);
});

it("draws a sample by its seed, in rounds of one for each graph, small graphs first", () => {
  const all = combinations(chosen);
  const names = (count: number, seed: number) =>
    sampled(all, count, seed).map(({ subject, form }) => `${subject.name} ${nameOf(form)}`);
  expect(names(50, 1)).toEqual(names(50, 1));
  expect(names(50, 1)).not.toEqual(names(50, 2));
  expect(new Set(names(all.length + 1, 3)).size).toBe(all.length);
  const [small, large] = [...chosen].sort((a, b) => nodesOf(a.graph).length - nodesOf(b.graph).length);
  expect(sampled(all, 5, 1).map(({ subject }) => subject.name)).toEqual(
    [small, large, small, large, small].map((s) => s!.name),
  );
});

it.each([
  ["f16, standard, opset 26", "verified"],
  ["int8 with int8 activations, onnxruntime, opset 17", "verified"],
  ["int4, onnxruntime, opset 18", "verified"],
  ["int8, onnxruntime, opset 21", "verified"],
  ["int4, standard, opset 20", "refused"],
  ["f32 with int8 activations, standard, opset 20", "refused"],
])("%s is %s", async (form, result) => {
  const one = combinations(chosen.slice(0, 1)).find((c) => nameOf(c.form) === form)!;
  expect(await attempt(one, fileOf(folder.at(), one))).toMatchObject({ result });
});
