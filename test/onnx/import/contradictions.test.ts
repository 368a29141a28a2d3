/** Operands, attributes and bodies of a node that do not belong together: onnxruntime refuses them too. */
import { createRequire } from "node:module";
import type * as Ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { computedTwice, fileOf } from "./in-onnxruntime.ts";
import { attribute, type Dims, floats, info, whole } from "./small-file.ts";

const ort = createRequire(import.meta.url)("onnxruntime-node") as typeof Ort;

interface Case {
  readonly opType: string;
  readonly x: readonly number[];
  readonly input: readonly string[];
  readonly says: string;
  readonly initializer?: readonly object[];
  readonly attributes?: readonly object[];
}
const attributes = (of: Parameters<typeof attribute>[0][1] extends infer T ? Record<string, T> : never) =>
  Object.entries(of).map(attribute);

/** A body that adds its first input after the ones that steer, and has as many inputs as are named. */
const body = (input: readonly (readonly [name: string, dims: Dims, type?: number])[], output: readonly string[]) => ({
  ...{ name: "body", type: 5 },
  g: {
    name: "body",
    node: [
      { opType: "Identity", input: ["going"], output: ["goes"], name: "goes" },
      { opType: "Identity", input: ["state"], output: ["next"], name: "next" },
    ].filter(({ output: [made] }) => output.includes(made!)),
    input: input.map(([name, dims, type]) => info(name, dims, type)),
    output: output.map((name) => info(name, name === "goes" ? [] : [2], name === "goes" ? 9 : 1)),
  },
});
const truth = { name: "true", dims: [], dataType: 9, int32Data: [1] };
const two = { name: "two", dims: [], dataType: 7, int64Data: [2] };

const activations = (...names: readonly string[]) => ({
  ...{ name: "activations", type: 8 },
  strings: names.map((name) => new TextEncoder().encode(name)),
});
const layer = (gates: number) => [floats("w", [1, gates * 2, 3]), floats("r", [1, gates * 2, 2])];

const cases: readonly Case[] = [
  {
    ...{ opType: "LSTM", x: [2, 1, 3], input: ["x", "w", "r"], initializer: layer(4) },
    attributes: attributes({ hidden_size: 3 }),
    says: "hidden_size is 3, but the weights are of 2",
  },
  {
    ...{ opType: "GRU", x: [2, 1, 3], input: ["x", "w", "r", "b"], initializer: [...layer(3), floats("b", [12])] },
    attributes: attributes({ hidden_size: 2 }),
    says: "a bias of [12] does not match the weights",
  },
  {
    ...{ opType: "RNN", x: [2, 1, 3], input: ["x", "w", "r"], initializer: layer(1) },
    attributes: [...attributes({ hidden_size: 2 }), activations("Tanh", "Tanh", "Relu")],
    says: "got 3 activations; expected 1",
  },
  {
    ...{ opType: "Resize", x: [1, 1, 2, 2], input: ["x", "", "scales", "sizes"] },
    initializer: [floats("scales", [4], [1, 1, 2, 2]), whole("sizes", [1, 1, 4, 4])],
    says: "both scales and sizes are given; expected one of them",
  },
  {
    ...{ opType: "Loop", x: [2], input: ["two", "true", "x"], initializer: [two, truth] },
    attributes: [
      body(
        [
          ["at", [], 7],
          ["going", [], 9],
          ["state", [2]],
          ["other", [2]],
        ],
        ["goes", "next"],
      ),
    ],
    says: "its body has 4 inputs, and an iteration gives it 3",
  },
  {
    ...{ opType: "Scan", x: [2, 2], input: ["start", "x"], initializer: [floats("start", [2])] },
    attributes: [...attributes({ num_scan_inputs: 1 }), body([["state", [2]]], ["next"])],
    says: "its body has 1 inputs, and an iteration gives it 2",
  },
  {
    ...{ opType: "AffineGrid", x: [2, 2, 3], input: ["x", "size"], initializer: [whole("size", [1, 1, 4, 4])] },
    says: "2 transforms do not match a size of [1, 1, 4, 4]",
  },
];

/** onnxruntime takes any other word for one of the three. */
const misspelt: readonly Case[] = [
  ...["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"].map((opType) => ({
    ...{ opType, x: [2, 3], input: ["x", "target"], initializer: [whole("target", [0, 2])] },
    attributes: attributes({ reduction: "average" }),
    says: 'the attribute reduction is "average"; expected one of mean, sum, none',
  })),
];

const written = ({ opType, input, x, initializer = [], attributes: attribute = [] }: Case) =>
  fileOf(
    {
      node: [{ opType, input, output: ["y"], name: "here", attribute }],
      ...{ initializer, input: [info("x", x)], output: [{ name: "y" }] },
    },
    20,
  );

it.each(misspelt)("$opType: $says", async (given) => {
  await expect(importOnnx(written(given))).rejects.toThrow(`node "here" (${given.opType}): ${given.says}`);
});

it("the first of two activations is that of an RNN of one direction, as the default has two", async () => {
  const spec: Case = { opType: "RNN", x: [2, 1, 3], input: ["x", "w", "r"], initializer: layer(1), says: "" };
  const given = attributes({ hidden_size: 2 });
  const file = written({ ...spec, attributes: [...given, activations("Softsign", "Relu")] });
  const x = { type: "float32", dims: [2, 1, 3], values: [1, -2, 3, -1, 2, 0.5] } as const;
  const [y] = await computedTwice(file, { x });
  for (const [i, value] of y!.made.entries()) expect(value).toBeCloseTo(y!.want[i]!, 5);
});

describe("a node that contradicts itself is refused, as by onnxruntime", () => {
  it.each(cases)("$opType: $says", async (given) => {
    const { opType, x, says } = given;
    const file = written(given);
    await expect(importOnnx(file)).rejects.toThrow(`node "here" (${opType}): ${says}`);
    const run = async () => {
      const session = await ort.InferenceSession.create(file, { logSeverityLevel: 4 });
      const count = x.reduce((n, d) => n * d, 1);
      return session.run({ x: new ort.Tensor("float32", new Float32Array(count), x) });
    };
    await expect(run()).rejects.toThrow();
  });
});

it.each([0, 1, 2, 3])("the scores of an Attention with a softcap, mode %i, are onnxruntime's", async (mode) => {
  const node = {
    ...{ opType: "Attention", input: ["x", "k", "x", "bias"], output: ["y", "", "", "scores"], name: "here" },
    attribute: [...attributes({ qk_matmul_output_mode: mode }), { name: "softcap", type: 1, f: 0.7 }],
  };
  const file = fileOf(
    {
      ...{ node: [node], initializer: [floats("k", [1, 2, 3, 4]), floats("bias", [3, 3])] },
      input: [info("x", [1, 2, 3, 4])],
      output: [info("y", [1, 2, 3, 4]), info("scores", [1, 2, 3, 3])],
    },
    23,
  );
  const values = Array.from({ length: 24 }, (_, i) => 4 * Math.sin(i));
  const found = await computedTwice(file, { x: { type: "float32", dims: [1, 2, 3, 4], values } });
  for (const { made, want } of found) for (const [i, value] of made.entries()) expect(value).toBeCloseTo(want[i]!, 5);
});
