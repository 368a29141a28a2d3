/** Nodes with inputs, outputs, attributes or types that their operators do not have: onnxruntime refuses them too. */
import { createRequire } from "node:module";
import type * as Ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { records } from "../../../backends/onnx/import/ops/index.ts";
import { signaturesOf } from "../../../backends/onnx/import/signatures/parse.ts";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { encodeModel, type ModelProto } from "../../../backends/onnx/wire/proto.ts";
import { attribute, floats, info, whole } from "./small-file.ts";

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
      initializer: [floats("w", [1, 1, 3, 3]), whole("eight", [0, 0, 0, 0, 0, 0, 0, 0])],
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
  ["Gelu", {}, "the operator exists from opset 20 on, and the model has opset 17"],
  ["Upsample", { input: ["x", "x"] }, "the operator was removed in opset 10, and the model has opset 17"],
  ["Swish", { opset: 23 }, "the operator exists from opset 24 on, and the model has opset 23"],
  [
    "Conv",
    { input: ["x", "w"], attributes: { kernel_shape: [2, 2] } },
    "kernel_shape is [2, 2], but the weight is [1, 1, 3, 3]",
  ],
  ["ConvTranspose", { input: ["x", "w"], attributes: { kernel_shape: [3, 2] } }, "kernel_shape is [3, 2], but the"],
];

/** x as an operand that should be a scalar or a list, and attributes out of their values. */
const outOfRange: typeof wrong = [
  ["Clip", { input: ["x", "x"] }, "the bound min is a tensor of [1, 1, 4, 4]; expected a scalar"],
  ["Pad", { input: ["x", "eight", "x"] }, "the value to pad with is a tensor of [1, 1, 4, 4]; expected a scalar"],
  ["Trilu", { input: ["x", "eight"] }, "k has 8 elements; expected one"],
  ["CumSum", { input: ["x", "eight"] }, "the axis has 8 elements; expected one"],
  ["LpNormalization", { attributes: { p: 3 } }, "the attribute p is 3; expected 1 or 2"],
  ["Transpose", { attributes: { perm: [0, 1, -1, 2] } }, "perm is [0, 1, -1, 2]; expected dimensions from 0"],
  ["Split", { opset: 18, attributes: { axis: 3 } }, "neither the input split nor the attribute num_outputs is given"],
];

/** onnxruntime takes these for one of the values that there are, not always for the one of its documentation. */
const misspelt: typeof wrong = [
  ["ReduceSum", { attributes: { keepdims: 5 } }, "the attribute keepdims is 5; expected 0 or 1"],
  ["DepthToSpace", { attributes: { blocksize: 1, mode: "crd" } }, 'mode is "crd"; expected one of DCR, CRD'],
  ["Gelu", { opset: 20, attributes: { approximate: "fast" } }, 'approximate is "fast"; expected one of none, tanh'],
];

it.each(misspelt)("%s %o is refused", async (operator, spec, says) => {
  await expect(importOnnx(fileOf(operator, spec))).rejects.toThrow(
    `node "here" (${operator}): the attribute ${says.replace(/^the attribute /, "")}`,
  );
});

it("an output of another type than its node gives is refused", async () => {
  const node = [{ opType: "Shape", name: "here", input: ["x"], output: ["y"] }];
  const graph = { name: "g", node, input: [info("x", [2])], output: [info("y", [1], 1)], initializer: [] };
  const file = encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }],
    graph,
  } as unknown as ModelProto);
  await expect(importOnnx(file)).rejects.toThrow('the output "y" is declared as float, but its node gives int64');
});

describe("a node that its operator does not allow is refused, as by onnxruntime", () => {
  it.each([...wrong, ...outOfRange])("%s %o", async (operator, spec, says) => {
    const file = fileOf(operator, spec);
    await expect(importOnnx(file)).rejects.toThrow(`node "here" (${operator}): `);
    await expect(importOnnx(file)).rejects.toThrow(says);
    await expect(runOf(file)).rejects.toThrow();
  });
});

it("attributes whose names begin with two underscores are annotations of tools, and ignored, as by onnxruntime", async () => {
  const file = fileOf("Relu", { attributes: { __scope: 1 } });
  await expect(importOnnx(file)).resolves.toBeDefined();
  await expect(runOf(file)).resolves.toBeDefined();
  await expect(importOnnx(fileOf("Relu", { attributes: { _scope: 1 } }))).rejects.toThrow('no attribute "_scope"');
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
