/** Functions of the file: inlined as onnxruntime computes them, and wrong calls refused. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { encodeModel, type ModelProto } from "../../../backends/onnx/wire/proto.ts";
import { computedTwice } from "./in-onnxruntime.ts";
import { info, whole } from "./small-file.ts";

const own = "own.domain";
const node = (opType: string, input: readonly string[], output: string, rest: object = {}) => ({
  ...{ opType, input, output: [output], name: `${opType}/${output}` },
  ...rest,
});
const graphAttribute = (name: string, nodes: readonly object[], output: string) => ({
  ...{ name, type: 5 },
  g: { name, node: nodes, output: [info(output, [2])] },
});
const fn = (name: string, input: readonly string[], output: string, nodes: readonly object[]) => ({
  ...{ name, domain: own, input, output: [output], node: nodes },
  opsetImport: [{ domain: "", version: 17 }],
});

/** x [2] -> y [2]; c [1] is a condition. */
const fileOf = (functions: readonly object[], nodes: readonly object[]): Uint8Array =>
  encodeModel({
    irVersion: 8,
    opsetImport: [
      { domain: "", version: 17 },
      { domain: own, version: 1 },
    ],
    functions,
    graph: {
      ...{ name: "g", node: nodes, initializer: [whole("zero", [0])] },
      input: [info("x", [2]), info("c", [1])],
      output: [info("y", [2])],
    },
  } as unknown as ModelProto);

const twice = fn("Twice", ["a"], "b", [node("Add", ["a", "a"], "b")]);

/** a > 0 in c: t + a, else -t, where t = a * a; names inside of the branches are of the function. */
const choose = fn("Choose", ["a", "c"], "b", [
  node("Mul", ["a", "a"], "t"),
  node("Constant", [], "k", { attribute: [{ name: "value_float", type: 1, f: 0 }] }),
  node("Greater", ["c", "k"], "holds"),
  node("If", ["holds"], "b", {
    attribute: [
      graphAttribute("then_branch", [node("Add", ["t", "a"], "u")], "u"),
      graphAttribute("else_branch", [node("Neg", ["t"], "v")], "v"),
    ],
  }),
]);

/** Calls a function in a branch. */
const callInBranch = (name: string) => [
  node("Constant", [], "k", { attribute: [{ name: "value_float", type: 1, f: 0 }] }),
  node("Greater", ["c", "k"], "holds"),
  node("If", ["holds"], "y", {
    attribute: [
      graphAttribute("then_branch", [node(name, ["x"], "u", { domain: own })], "u"),
      graphAttribute("else_branch", [node("Neg", ["x"], "v")], "v"),
    ],
  }),
];

describe("a function", () => {
  it.each([
    [
      "that is called twice",
      [twice],
      [node("Twice", ["x"], "m", { domain: own }), node("Twice", ["m"], "y", { domain: own })],
    ],
    ["whose branches read its own values", [choose], [node("Choose", ["x", "c"], "y", { domain: own })]],
    ["that is called in a branch", [twice], callInBranch("Twice")],
  ])("%s gives onnxruntime's results", async (_, functions, nodes) => {
    for (const condition of [1, -1]) {
      const [y] = await computedTwice(fileOf(functions, nodes), {
        x: { type: "float32", dims: [2], values: [1.5, -2] },
        c: { type: "float32", dims: [1], values: [condition] },
      });
      expect(y!.made).toEqual(y!.want);
    }
  });

  it("is the only one of its name", async () => {
    const file = importOnnx(fileOf([twice, twice], [node("Twice", ["x"], "y", { domain: own })]));
    await expect(file).rejects.toThrow('the model has two functions named "own.domain.Twice"');
  });

  it.each([
    [
      node("Twice", ["x", "x"], "y", { domain: own }),
      'node "Twice/y" has 2 inputs; the function "own.domain.Twice" that it calls has 1',
    ],
    [
      { ...node("Twice", ["x"], "y", { domain: own }), output: ["y", "z"] },
      'node "Twice/y" has 2 outputs; the function "own.domain.Twice" that it calls has 1',
    ],
  ])("is not called with more values than it has: %#", async (call, says) => {
    await expect(importOnnx(fileOf([twice], [call]))).rejects.toThrow(says);
  });
});
