/**
 * Convolutions and pooling beside onnxruntime, of files whose names are those that the importer gives axes of its own.
 */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { computedTwice, type Fed } from "./in-onnxruntime.ts";
import { type Dims, file, floats, type NodeSpec } from "./small-file.ts";

interface Case {
  readonly dims: Dims;
  readonly sizes: readonly number[];
  readonly node: NodeSpec;
  readonly weight?: readonly number[];
}

const transposed = (attributes: Record<string, number | readonly number[]>): NodeSpec => [
  "ConvTranspose",
  ["x", "w"],
  "y",
  attributes,
];

const cases: Readonly<Record<string, Case>> = {
  "a transposed convolution in groups": {
    dims: ["group", 4, "of_group", "to"],
    sizes: [2, 4, 3, 2],
    node: transposed({ group: 2, strides: [2, 1] }),
    weight: [4, 3, 2, 2],
  },
  "a transposed one of depthwise channels and a kernel of one column": {
    dims: ["h_spread", 3, "h", "kernel_0"],
    sizes: [2, 3, 3, 2],
    node: transposed({ group: 3, strides: [2, 2], dilations: [2, 1] }),
    weight: [3, 1, 3, 1],
  },
  "a convolution in groups": {
    dims: ["h_window", 4, "h", "group"],
    sizes: [2, 4, 5, 3],
    node: ["Conv", ["x", "w"], "y", { group: 2, strides: [2, 1] }],
    weight: [6, 2, 2, 2],
  },
  "a mean over windows that reach into the padding": {
    dims: ["h_window", "kernel_0", "h", "w"],
    sizes: [2, 3, 5, 4],
    node: ["AveragePool", ["x"], "y", { kernel_shape: [3, 2], strides: [2, 1], pads: [1, 1, 2, 0], ceil_mode: 1 }],
  },
};

const values = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1)));

describe.each(Object.entries(cases))("%s", (_, { dims, sizes, node, weight }) => {
  it("is what onnxruntime computes", async () => {
    const bytes = file({ x: dims }, weight ? [floats("w", weight)] : [], [node], { y: ["n", "c", "a", "b"] });
    const fed: Fed = { type: "float32", dims: sizes, values: values(sizes.reduce((a, b) => a * b)) };
    const numbers = dims.flatMap((d, i) => (typeof d === "string" ? [[d, sizes[i]!] as const] : []));
    const [y] = await computedTwice(bytes, { x: fed }, { sizes: Object.fromEntries(numbers) });
    expect(y!.want.some((v) => v !== 0)).toBe(true);
    y!.want.forEach((v, i) => {
      expect(y!.made[i]).toBeCloseTo(v, 5);
    });
  });
});

const typeOf = async (bytes: Uint8Array) => {
  const { graph } = await importOnnx(bytes);
  return graph.outputs[0]!.node.type.axes.map(({ size }) => String(size));
};

it("of more than three sides, and of kernels of open sizes, have a type", async () => {
  const sides = file({ x: [1, 2, 3, 3, 3, 3] }, [floats("w", [2, 2, 2, 2, 2, 2])], [["Conv", ["x", "w"], "y"]], {
    y: [],
  });
  expect(await typeOf(sides)).toEqual(["1", "2", "2", "2", "2", "2"]);
  const open = file({ x: [1, 4, 5, 5], w: [4, "o", 2, 2] }, [], [transposed({ group: 2 })], { y: [] });
  expect(await typeOf(open)).toEqual(["1", "2*o", "6", "6"]);
  const mean: NodeSpec = ["AveragePool", ["x"], "y", { kernel_shape: [2, 2], pads: [1, 1, 1, 1] }];
  expect(await typeOf(file({ x: [1, 3, "kernel_0", 4] }, [], [mean], { y: [] }))).toEqual([
    "1",
    "3",
    "kernel_0+1",
    "5",
  ]);
});

it("an output_shape has a number for each side", async () => {
  const bytes = file({ x: [1, 4, 5, 5] }, [floats("w", [4, 3, 2, 2])], [transposed({ output_shape: [9] })], { y: [] });
  await expect(importOnnx(bytes)).rejects.toThrow("output_shape must have 2 numbers, got 1");
});
