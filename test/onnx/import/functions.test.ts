/** Functions of the file: inlined as onnxruntime computes them, and wrong calls refused. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { encodeModel, type ModelProto } from "../../../backends/onnx/wire/proto.ts";
import { evaluate } from "../../../backends/reference/index.ts";
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
const fn = (
  name: string,
  input: readonly string[],
  output: string | readonly string[],
  nodes: readonly object[],
  version = 17,
) => ({
  ...{ name, domain: own, input, output: [output].flat(), node: nodes },
  opsetImport: [{ domain: "", version }],
});

/** x [2] -> y [2]; c [1] is a condition. */
const fileOf = (functions: readonly object[], nodes: readonly object[], version = 17): Uint8Array =>
  encodeModel({
    irVersion: 8,
    opsetImport: [
      { domain: "", version },
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

  /** A sum over the last dimension: until opset 12 its axes are an attribute, from 13 on an input. */
  const sum = fn(
    "Sum",
    ["a"],
    "b",
    [node("ReduceSum", ["a"], "b", { attribute: [{ name: "axes", type: 7, ints: [-1] }] })],
    12,
  );

  it("is read at the opset that it imports, and the rest of the model at the model's", async () => {
    const calls = [node("Sum", ["x"], "s", { domain: own }), node("Mul", ["s", "x"], "y")];
    const { graph, opset } = await importOnnx(fileOf([sum], calls));
    const feeds = new Map([["x", Float64Array.of(1.5, -2)]]);
    expect([...evaluate(graph, feeds).get("y")!.data]).toEqual([-0.75, 1]);
    expect(opset).toBe(17);
    await expect(importOnnx(fileOf([{ ...sum, opsetImport: [] }], calls))).rejects.toThrow(
      /node "ReduceSum\/b" \(ReduceSum\): the operator has no attribute "axes"/,
    );
    await expect(importOnnx(fileOf([{ ...sum, opsetImport: [{ domain: "", version: 5 }] }], calls))).rejects.toThrow(
      'the function "own.domain.Sum" has opset 5; supported are 7 to 28',
    );
    const early = fn("Normed", ["a"], "b", [node("LayerNormalization", ["a", "a"], "b")], 16);
    await expect(importOnnx(fileOf([early], [node("Normed", ["x"], "y", { domain: own })]))).rejects.toThrow(
      "the operator exists from opset 17 on, and its function has opset 16",
    );
  });

  it("may return its inputs, and a value twice", async () => {
    const [back, both] = [fn("Same", ["a"], "a", []), fn("Both", ["a"], ["b", "a", "b"], [node("Neg", ["a"], "b")])];
    const calls = [
      node("Same", ["x"], "m", { domain: own }),
      { ...node("Both", ["m"], "", { domain: own }), output: ["n", "k", "l"] },
      node("Sum", ["n", "k", "k", "l", "x"], "y"),
    ];
    const { graph } = await importOnnx(fileOf([back, both], calls));
    expect([...evaluate(graph, new Map([["x", Float64Array.of(1.5, -2)]])).get("y")!.data]).toEqual([1.5, -2]);
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
