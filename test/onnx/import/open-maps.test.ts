/** Operators on maps of open sides: imported open and then bound, they are what they are imported with numbers. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { evaluate } from "../../../backends/reference/index.ts";
import { bindSizes } from "../../../compiler/index.ts";
import { inputValues } from "../../support/random-graph.ts";
import { file, floats, type NodeSpec, whole } from "./small-file.ts";

const w = floats("w", [4, 3, 3, 3]);
const depthwise = floats("w", [3, 1, 3, 3]);
const spread = floats("w", [3, 4, 2, 2]);
const scales = floats("scales", [4], [1, 1, 3, 2]);
const resized = (attributes: Record<string, string>): readonly [NodeSpec, object] => [
  ["Resize", ["x", "", "scales"], "y", attributes],
  scales,
];

const padded = (mode: string): readonly [NodeSpec, object] => [
  ["Pad", ["x", "pads"], "y", { mode }],
  whole("pads", [0, 0, 2, 0, 0, 0, 1, 3]),
];
const every = (first: number): readonly object[] => [
  ...[whole("first", [first]), whole("end", [2 ** 40]), whole("rows", [2]), whole("step", [2])],
];

/** One node each, of x [2, 3, height, width] and constants. */
const cases: Readonly<Record<string, readonly [node: NodeSpec, ...constants: object[]]>> = {
  "a convolution": [["Conv", ["x", "w"], "y", { pads: [1, 1, 1, 1] }], w],
  "a convolution without padding, dilated": [["Conv", ["x", "w"], "y", { dilations: [2, 1] }], w],
  "a strided convolution": [["Conv", ["x", "w"], "y", { strides: [2, 3], pads: [0, 1, 1, 1] }], w],
  "a depthwise one": [["Conv", ["x", "w"], "y", { group: 3, strides: [2, 1], auto_pad: "SAME_LOWER" }], depthwise],
  "a transposed convolution": [["ConvTranspose", ["x", "w"], "y", { strides: [2, 2], pads: [0, 1, 1, 0] }], spread],
  "a transposed one as large as it is asked": [
    ["ConvTranspose", ["x", "w"], "y", { strides: [2, 1], auto_pad: "SAME_UPPER" }],
    spread,
  ],
  "the largest": [["MaxPool", ["x"], "y", { kernel_shape: [3, 2], strides: [2, 3], pads: [1, 0, 1, 1] }]],
  "the largest, with a part of a window": [
    ["MaxPool", ["x"], "y", { kernel_shape: [3, 2], strides: [2, 3], ceil_mode: 1 }],
  ],
  "the mean": [["AveragePool", ["x"], "y", { kernel_shape: [2, 2], strides: [2, 1] }]],
  "the mean, of the map alone": [["AveragePool", ["x"], "y", { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }]],
  "the mean, of a part of a window": [
    ["AveragePool", ["x"], "y", { kernel_shape: [3, 2], strides: [2, 3], count_include_pad: 1, ceil_mode: 1 }],
  ],
  "a reflecting pad": padded("reflect"),
  "a pad that repeats the edge": padded("edge"),
  "a pad that wraps around": padded("wrap"),
  "every other row, from the second": [["Slice", ["x", "first", "end", "rows", "step"], "y"], ...every(1)],
  "every other row, from the first": [["Slice", ["x", "first", "end", "rows", "step"], "y"], ...every(0)],
  "nearest neighbours": resized({ coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" }),
  "nearest neighbours by their centers": resized({}),
  "a linear resize": resized({ mode: "linear" }),
  "a cubic resize from the first": resized({ mode: "cubic", coordinate_transformation_mode: "asymmetric" }),
};

describe.each(Object.entries(cases))("%s", (_, [node, ...constants]) => {
  const bytes = file({ x: [2, 3, "height", "width"] }, constants, [node], { y: [2, "c", "h", "w"] });

  it.each([
    [12, 7],
    [6, 10],
  ])("of a map of %i x %i", async (height, width) => {
    const open = await importOnnx(bytes, { sizes: { height: "6*rows", width: "3*columns+1" } });
    const fixed = await importOnnx(bytes, { sizes: { height, width } });
    const bound = bindSizes(open.graph, { rows: height / 6, columns: (width - 1) / 3 });
    expect(bound.outputs[0]!.node.type).toEqual(fixed.graph.outputs[0]!.node.type);
    const values = inputValues(fixed.graph, 5);
    const [got, want] = [evaluate(bound, values).get("y")!, evaluate(fixed.graph, values).get("y")!];
    expect(want.data.some((v) => v !== 0)).toBe(true);
    want.data.forEach((v, i) => {
      expect(got.data[i]).toBeCloseTo(v, 6);
    });
  });
});

it.each(["nearest", "linear", "cubic"])("a map of one element is enlarged to open sides, %s", async (mode) => {
  const bytes = file(
    { x: [2, 3, "height", "width"] },
    [],
    [
      ["GlobalAveragePool", ["x"], "one"],
      ["Shape", ["x"], "sides"],
      ["Resize", ["one", "", "", "sides"], "wide", { mode }],
      ["Sub", ["x", "wide"], "y"],
    ],
    { y: [2, 3, "height", "width"] },
  );
  const { graph } = await importOnnx(bytes);
  const bound = bindSizes(graph, { height: 4, width: 3 });
  const { graph: fixed } = await importOnnx(bytes, { sizes: { height: 4, width: 3 } });
  const values = inputValues(fixed, 5);
  const [got, want] = [evaluate(bound, values).get("y")!, evaluate(fixed, values).get("y")!];
  want.data.forEach((v, i) => {
    expect(got.data[i]).toBeCloseTo(v, 6);
  });
});

describe("what cannot stay open", () => {
  const imported = (node: NodeSpec, constants: object[], sizes: Record<string, number | string> = {}) =>
    importOnnx(file({ x: [2, 3, "height", 8] }, constants, [node], { y: [2, "c", "h", "w"] }), { sizes });

  it("is a side that a stride may leave a remainder of, and one with no room for a window", async () => {
    const pool: NodeSpec = ["MaxPool", ["x"], "y", { kernel_shape: [4, 4], strides: [2, 2] }];
    await expect(imported(pool, [])).rejects.toThrow("which the stride 2 may not divide");
    await expect(imported(pool, [], { height: "2*n" })).rejects.toThrow(
      /the number of windows, n-1, may be below 1: .*as in n=n\+1/,
    );
    const { graph } = await imported(pool, [], { height: "2*n+2" });
    expect(String(graph.outputs[0]!.node.type.axes[2]!.size)).toBe("n");
  });

  it("is a side that is resized by its size", async () => {
    const corners: NodeSpec = ["Resize", ["x", "", "scales"], "y", { coordinate_transformation_mode: "align_corners" }];
    await expect(imported(corners, [floats("scales", [4], [1, 1, 2, 1])])).rejects.toThrow(
      "the resized side must be a number, got height, since the weights depend on it: set height",
    );
    await expect(imported(corners, [floats("scales", [4], [1, 1, 0.5, 1])])).rejects.toThrow(
      "a side of height elements is resized to 0.5 times as many, which is not an integer multiple: set height",
    );
  });

  it("is a side that may be shorter than its padding reflects", async () => {
    const pad: NodeSpec = ["Pad", ["x", "pads"], "y", { mode: "reflect" }];
    const constants = [whole("pads", [0, 0, 2, 0, 0, 0, 3, 0])];
    await expect(imported(pad, constants)).rejects.toThrow(
      /a side of height elements may be shorter than the 4 that its reflect padding needs: .*as in height=n\+3$/,
    );
    const { graph } = await imported(pad, constants, { height: "n+3" });
    expect(String(graph.outputs[0]!.node.type.axes[2]!.size)).toBe("n+8");
  });

  it("is said of a size that is no polynomial", async () => {
    const pool: NodeSpec = ["MaxPool", ["x"], "y", { kernel_shape: [1, 1] }];
    await expect(imported(pool, [], { height: "n/2" })).rejects.toThrow('the size "height" is "n/2"');
  });
});
