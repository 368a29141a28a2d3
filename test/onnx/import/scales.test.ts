/**
 * Shapes of scales and zero points: per tensor, per channel, per row and column, and in blocks whose last is shorter.
 */
import { createRequire } from "node:module";
import type * as Ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { evaluate } from "../../../backends/reference/index.ts";
import { computedTwice, fileOf } from "./in-onnxruntime.ts";
import { attribute, floats, info } from "./small-file.ts";

const ort = createRequire(import.meta.url)("onnxruntime-node") as typeof Ort;
const [uint8, int8] = [2, 3];

const node = (opType: string, input: readonly string[], output: string, attributes: Record<string, number> = {}) => ({
  ...{ opType, input, output: [output], name: output },
  attribute: Object.entries(attributes).map(attribute),
});
const integers = (name: string, dataType: number, dims: readonly number[], values: readonly number[]) => ({
  ...{ name, dataType, dims: [...dims], int32Data: [...values] },
});
const count = (dims: readonly number[]) => dims.reduce((n, d) => n * d, 1);
const spread = (dims: readonly number[], low: number, high: number) =>
  Array.from({ length: count(dims) }, (_, i) => low + ((i * 37) % (high - low + 1)));
const steps = (dims: readonly number[]) => Array.from({ length: count(dims) }, (_, i) => 0.05 + 0.03 * ((i * 5) % 7));

/** x [2, 7] is quantized to int8 and back. */
const quantizing = (scales: readonly number[], attributes: Record<string, number>) =>
  fileOf(
    {
      node: [
        node("QuantizeLinear", ["x", "s", "z"], "q", attributes),
        node("DequantizeLinear", ["q", "s", "z"], "y", attributes),
      ],
      initializer: [floats("s", scales, steps(scales)), integers("z", int8, scales, spread(scales, -9, 9))],
      input: [info("x", [2, 7])],
      output: [info("y", [2, 7])],
    },
    21,
  );

/** x [7] times a stored tensor. */
const dequantizing = (scales: readonly number[], attributes: Record<string, number>) =>
  fileOf(
    {
      node: [node("DequantizeLinear", ["w", "s"], "d", attributes), node("Mul", ["x", "d"], "y")],
      initializer: [integers("w", int8, [7], spread([7], -120, 120)), floats("s", scales, steps(scales))],
      input: [info("x", [7])],
      output: [info("y", [7])],
    },
    21,
  );

/** x [2, 5] times a matrix [5, 3], in bytes. */
const multiplying = (left: readonly number[], right: readonly number[], result: readonly number[] = []) =>
  fileOf({
    node: [
      node("QuantizeLinear", ["x", "one", "none"], "a"),
      node("QLinearMatMul", ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], "q"),
      node("DequantizeLinear", ["q", "one", "none"], "y"),
    ],
    initializer: [
      ...[floats("one", [], [1]), integers("none", uint8, [], [0])],
      ...[floats("as", left, steps(left)), integers("az", uint8, left, spread(left, 3, 90))],
      ...[floats("bs", right, steps(right)), integers("bz", uint8, right, spread(right, 100, 150))],
      ...[
        floats("ys", result, Array(count(result)).fill(1.5)),
        integers("yz", uint8, result, spread(result, 120, 130)),
      ],
      integers("b", uint8, [5, 3], spread([5, 3], 110, 140)),
    ],
    input: [info("x", [2, 5])],
    output: [info("y", [2, 3])],
  });

const blocksOf = (block_size: number, axis = 1) => ({ axis, block_size });
const fed = (dims: readonly number[], scale: number) =>
  ({
    type: "float32",
    dims,
    values: Array.from({ length: count(dims) }, (_, i) => scale * Math.sin(1 + 2 * i)),
  }) as const;
const bytes = { type: "float32", dims: [2, 5], values: spread([2, 5], 0, 120) } as const;

describe("scales and zero points as in onnxruntime", () => {
  it.each([
    { what: "for blocks of 3 of 7 elements", file: quantizing([2, 3], { axis: -1, block_size: 3 }) },
    { what: "for a block of more elements than there are", file: quantizing([2, 1], { axis: 1, block_size: 8 }) },
    { what: "for blocks of rows", file: quantizing([1, 7], { axis: 0, block_size: 2 }) },
    { what: "per channel", file: quantizing([7], { axis: 1 }) },
    { what: "per tensor", file: quantizing([1], {}) },
    { what: "for blocks of a list", file: dequantizing([3], { axis: 0, block_size: 3 }), x: fed([7], 1) },
    { what: "per column of a product", file: multiplying([], [3]), x: bytes },
  ])("$what", async ({ file, x = fed([2, 7], 3) }) => {
    const [y] = await computedTwice(file, { x });
    expect(y!.made.length).toBe(y!.want.length);
    for (const [i, value] of y!.made.entries()) expect(value).toBeCloseTo(y!.want[i]!, 5);
  });
});

it("the left scales of a QLinearMatMul may be per row, which onnxruntime lacks", async () => {
  const { graph, parameters } = await importOnnx(multiplying([2], [3]));
  const values = new Map([["x", Float64Array.from(bytes.values)]]);
  for (const [name, { read }] of parameters) values.set(name, Float64Array.from((await read()).data));
  const made = evaluate(graph, values).get("y")!.data;
  const [as, az, bs, bz] = [steps([2]), spread([2], 3, 90), steps([3]), spread([3], 100, 150)];
  const b = spread([5, 3], 110, 140);
  const want = Array.from({ length: 6 }, (_, i) => {
    const [row, column] = [Math.floor(i / 3), i % 3];
    const at = (k: number) => (bytes.values[5 * row + k]! - az[row]!) * (b[3 * k + column]! - bz[column]!);
    const sum = [0, 1, 2, 3, 4].reduce((total, k) => total + at(k), 0);
    return Math.min(Math.max(Math.round((sum * as[row]! * bs[column]!) / 1.5) + 120, 0), 255);
  });
  expect(new Set(want).size).toBeGreaterThan(3);
  expect([...made]).toEqual(want);
});

describe("scales of another shape are refused, as by onnxruntime", () => {
  const map = [2, 7];
  it.each([
    { says: "scales of [2, 1] do not match [2, 7] in blocks of 3", dims: map, file: quantizing([2, 1], blocksOf(3)) },
    { says: "scales of [7] do not match [2, 7] in blocks of 3", dims: map, file: quantizing([7], blocksOf(3)) },
    { says: "scales of [2, 7] without a block_size", dims: map, file: quantizing([2, 7], { axis: 1 }) },
    { says: "got 3 scales for a dimension of 7", dims: map, file: quantizing([3], { axis: 1 }) },
    { says: "scales of [2] do not match [7] in blocks of 3", dims: [7], file: dequantizing([2], blocksOf(3, 0)) },
    { says: "got 2 scales for a dimension of 7", dims: [7], file: dequantizing([2], { axis: 0 }) },
    { says: "got 3 scales; expected one", dims: [2, 5], file: multiplying([], [], [3]) },
  ])("$says", async ({ says, dims, file }) => {
    await expect(importOnnx(file)).rejects.toThrow(says);
    const run = async () => {
      const session = await ort.InferenceSession.create(file, { logSeverityLevel: 4 });
      return session.run({ x: new ort.Tensor("float32", new Float32Array(count(dims)), dims) });
    };
    await expect(run()).rejects.toThrow();
  });
});
