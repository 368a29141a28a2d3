/**
 * Which values of a file become outputs: those it lists, or those that a user names, in a program and on the command
 * line.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { decodeModel, encodeModel } from "../../../backends/onnx/wire/proto.ts";
import { inputName } from "../../../compiler/index.ts";
import { heddle, scratch } from "../../cli/support.ts";
import { file, floats } from "./small-file.ts";

const folder = scratch("onnx-outputs");
afterAll(() => folder.remove());

/** Scores, and a selection of boxes by them, which needs an operator that is not there. */
const detector = file(
  { x: [2, 3], limit: [1] },
  [floats("w", [3, 4])],
  [
    ["MatMul", ["x", "w"], "/head/scores"],
    ["NonMaxSuppression", ["/head/scores", "limit"], "kept"],
    ["Neg", ["x"], "turned"],
  ],
  { kept: ["n", 3], turned: [2, 3] },
);

it("lists a value once that the file lists twice", async () => {
  const model = decodeModel(file({ x: [2, 3] }, [], [["Neg", ["x"], "y"], ["Abs", ["y"], "z"]], { y: [2, 3], z: [2, 3] })); // biome-ignore format: a file
  const outputs = model.graph!.output!;
  model.graph!.output = [outputs[0]!, outputs[1]!, outputs[0]!];
  const { graph } = await importOnnx(encodeModel(model));
  expect(graph.outputs.map((o) => [o.name, o.node.op])).toEqual([
    ["y", "neg"],
    ["z", "abs"],
  ]);
});

it("imports with --outputs the named values alone, and what they need", async () => {
  const [from, out] = [folder.at("detector.onnx"), folder.at("imported")];
  writeFileSync(from, detector);
  const made = await heddle("import", from, "--outputs", "/head/scores", "turned", "--out", out, "--json");
  expect(made.status, made.err).toBe(0);
  const facts = JSON.parse(made.out) as { outputs: Record<string, string>; inputs: Record<string, string> };
  expect(Object.keys(facts.outputs)).toEqual(["/head/scores", "turned"]);
  expect(Object.keys(facts.inputs)).toEqual(["x"]);
  expect(readFileSync(folder.at("imported", "model.graph"), "utf8")).toMatch(
    /return %\S+ as "\/head\/scores", %\S+ as turned/,
  );
});

it("says of a name that the file does not have, or has been given twice, and writes nothing", async () => {
  const [from, out] = [folder.at("detector.onnx"), folder.at("none")];
  writeFileSync(from, detector);
  const made = await heddle("import", from, "--out", out, "--outputs", "/head/score", "turned", "turned");
  expect(made.status).not.toBe(0);
  expect(made.err).toContain('the file has no value "/head/score"; did you mean "/head/scores"?');
  expect(made.err).toContain('the output "turned" is named twice');
  expect(existsSync(out)).toBe(false);
  const whole = await heddle("import", from, "--out", out);
  expect(whole.err).toMatch(/NonMaxSuppression: .*kept[\s\S]*name its last values as outputs \(--outputs/);
  expect(existsSync(out)).toBe(false);
});

/** Three selections whose sizes the data tell, what one of them feeds, and a window that needs a number. */
const selecting = file(
  { x: [2, 6], map: [1, 1, "rows", 4] },
  [floats("zero", [1], [0])],
  [
    ["Abs", ["x"], "size"],
    ["ReduceMax", ["x"], "top", { axes: [0], keepdims: 0 }],
    ["Greater", ["top", "zero"], "few"],
    ["Compress", ["size", "few"], "kept", { axis: 1 }],
    ["Exp", ["kept"], "grown"],
    ["ArgMax", ["top"], "at"],
    ["Sigmoid", ["x"], "scores"],
    ["TopK", ["scores", "at"], ["best", "places"]],
    ["MaxPool", ["map"], "pooled", { kernel_shape: [2, 2], strides: [2, 2] }],
    ["AveragePool", ["map"], "mean", { kernel_shape: [2, 2], strides: [2, 2] }],
    ["Neg", ["scores"], "turned"],
  ],
  { mean: [1, 1, "half", 2], grown: [2, "n"], best: [2, "k"], pooled: [1, 1, "half", 2], turned: [2, 6] },
);

it("lists all nodes whose sizes only the data tell in one error, which names what can be imported", async () => {
  const error = await importOnnx(selecting).catch((e: Error) => e);
  expect((error as Error).message.split("\n")).toEqual([
    'node "Compress/kept" (Compress): the condition is computed at run time, but must be a constant to import the model',
    expect.stringMatching(/^node "TopK\/best" \(TopK\): .* is computed at run time, but must be a constant/),
    expect.stringMatching(/^node "MaxPool\/pooled" \(MaxPool\): a side of the map is rows/),
    "  and the same of 1 more node",
    "  hint: the part before them can be imported: name its last values as outputs (--outputs, or the option outputs); those that the rest reads are scores, at, few, size",
  ]);
  const { graph } = await importOnnx(selecting, { outputs: ["scores", "at", "few", "size"] });
  expect(graph.inputs.map(inputName)).toEqual(["x"]);
  const sized = await importOnnx(selecting, { outputs: ["pooled", "turned"], sizes: { rows: 6 } });
  expect(sized.graph.outputs.map((o) => o.name)).toEqual(["pooled", "turned"]);
});
