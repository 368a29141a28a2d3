/** Nodes with inputs, outputs, attributes or types that their operators do not have: onnxruntime refuses them too. */
import { createRequire } from "node:module";
import type * as Ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { records } from "../../../backends/onnx/import/ops/index.ts";
import { signaturesOf } from "../../../backends/onnx/import/signatures/parse.ts";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { encodeModel, type ModelProto } from "../../../backends/onnx/wire/proto.ts";
import { attribute, floats, info } from "./small-file.ts";

const ort = createRequire(import.meta.url)("onnxruntime-node") as typeof Ort;

interface Spec {
  readonly input?: readonly string[];
  readonly output?: readonly string[];
  readonly attributes?: Record<string, number | string | readonly number[]>;
  readonly opset?: number;
}

/** A node "here" that may read x: f32[1, 1, 4, 4], n: i64[4], d: f64[4] and the weight w [1, 1, 3, 3]. */
const fileOf = (opType: string, { input = ["x"], output = ["y"], attributes = {}, opset = 17 }: Spec): Uint8Array =>
  encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: opset }],
    graph: {
      name: "g",
      node: [{ opType, name: "here", input, output, attribute: Object.entries(attributes).map(attribute) }],
      input: [info("x", [1, 1, 4, 4]), info("n", [4], 7), info("d", [4], 11)],
      output: output.filter((name) => name !== "").map((name) => ({ name })),
      initializer: [floats("w", [1, 1, 3, 3])],
    },
  } as unknown as ModelProto);

async function runOf(file: Uint8Array): Promise<unknown> {
  const session = await ort.InferenceSession.create(file, { logSeverityLevel: 4 });
  return session.run({
    x: new ort.Tensor("float32", new Float32Array(16), [1, 1, 4, 4]),
    n: new ort.Tensor("int64", new BigInt64Array(4), [4]),
    d: new ort.Tensor("float64", new Float64Array(4), [4]),
  });
}

const many = Array.from({ length: 500 }, () => "x");

const wrong: readonly (readonly [operator: string, spec: Spec, says: string])[] = [
  ["Relu", { input: many }, "it has 500 inputs; expected at most 1"],
  ["Relu", { input: [] }, "it has 0 inputs; expected at least 1"],
  ["Relu", { input: [""] }, "input 0 is missing"],
  ["Relu", { output: ["y", "z"] }, "it has 2 outputs; expected at most 1"],
  ["Add", { input: ["x"] }, "it has 1 input; expected at least 2"],
  ["Concat", { input: [], attributes: { axis: 0 } }, "it has 0 inputs; expected at least 1"],
  ["Concat", { input: ["x", "x"] }, "the attribute axis is missing"],
  ["Softmax", { attributes: { axes: 1 } }, 'the operator has no attribute "axes"; did you mean "axis"?'],
  ["BatchNormalization", { input: ["x", "w", "w", "w", "w"], attributes: { spatial: 1 } }, 'no attribute "spatial"'],
  ["Softmax", { attributes: { axis: [1] } }, "the attribute axis is a list of integers; expected an integer"],
  ["Sigmoid", { input: ["n"] }, "input 0 is int64; expected float, double, float16 or bfloat16"],
  ["Add", { input: ["x", "d"] }, "input 0 is float and input 1 double; expected one type for both"],
  ["Gather", { input: ["x", "x"] }, "input 1 is float; expected int32 or int64"],
  ["Not", {}, "input 0 is float; expected bool"],
  ["Gelu", {}, "the operator is one since opset 20, and the model has opset 17"],
  ["Upsample", { input: ["x", "x"] }, "the operator is none since opset 10, and the model has opset 17"],
  ["Swish", { opset: 23 }, "the operator is one since opset 24, and the model has opset 23"],
  [
    "Conv",
    { input: ["x", "w"], attributes: { kernel_shape: [2, 2] } },
    "kernel_shape is [2, 2], but the weight is [1, 1, 3, 3]",
  ],
  ["ConvTranspose", { input: ["x", "w"], attributes: { kernel_shape: [3, 2] } }, "kernel_shape is [3, 2], but the"],
];

describe("a node that its operator does not allow is refused, as by onnxruntime", () => {
  it.each(wrong)("%s %o", async (operator, spec, says) => {
    const file = fileOf(operator, spec);
    await expect(importOnnx(file)).rejects.toThrow(`node "here" (${operator}): `);
    await expect(importOnnx(file)).rejects.toThrow(says);
    await expect(runOf(file)).rejects.toThrow();
  });
});

it("what operators gained in later opsets is refused before", async () => {
  const reduced = (opset: number) => importOnnx(fileOf("ReduceMax", { opset, attributes: { axes: [3] } }));
  await expect(reduced(13)).resolves.toBeDefined();
  await expect(reduced(18)).rejects.toThrow('the operator has no attribute "axes"');
});

it("all nodes with faults are listed at once", async () => {
  const node = (name: string, opType: string, input: readonly string[]) => ({ name, opType, input, output: [name] });
  const file = encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }],
    graph: {
      name: "g",
      node: [node("a", "Relu", ["x", "x"]), node("b", "Add", ["a"])],
      input: [info("x", [2])],
      output: [info("b", [2])],
      initializer: [],
    },
  } as unknown as ModelProto);
  await expect(importOnnx(file)).rejects.toThrow(
    'node "a" (Relu): it has 2 inputs; expected at most 1\nnode "b" (Add): it has 1 input; expected at least 2',
  );
});

it("a negative dimension of an input is refused, but for -1, which says that it is open", async () => {
  const fileOfSize = (size: number) =>
    encodeModel({
      irVersion: 8,
      opsetImport: [{ domain: "", version: 17 }],
      graph: {
        name: "g",
        node: [{ opType: "Relu", name: "r", input: ["x"], output: ["y"] }],
        input: [info("x", [2, size])],
        output: [{ name: "y" }],
        initializer: [],
      },
    } as unknown as ModelProto);
  await expect(importOnnx(fileOfSize(-1))).resolves.toBeDefined();
  await expect(importOnnx(fileOfSize(-3))).rejects.toThrow('the input "x" has a dimension of -3 elements');
});

it("every operator that is imported has a signature, but for one that onnxruntime has only in ONNX's domain", () => {
  const without = Object.keys(records).filter((name) => signaturesOf(name).length === 0);
  expect(without).toEqual(["com.microsoft.SimplifiedLayerNormalization"]);
});
