/**
 * What onnxruntime and its tools write that is not in ONNX itself: each file computes what onnxruntime computes of it.
 */
import { expect, it } from "vitest";
import { encodeOnnx, exportOnnx, importOnnx } from "../../../backends/onnx/index.ts";
import { decodeModel, encodeModel } from "../../../backends/onnx/wire/proto.ts";
import { evaluate } from "../../../backends/reference/index.ts";
import { computedTwice, fileOf } from "./in-onnxruntime.ts";

const shape = [2, 3, 4, 5];
/** The scale of results: onnxruntime takes the reciprocal as a whole number in a softmax. */
const step = 1 / 64;
const [f32, uint8, int8, int32, int64] = [1, 2, 3, 6, 7];

interface Made {
  readonly op: string;
  readonly input: readonly string[];
  readonly ints?: Readonly<Record<string, number | readonly number[]>>;
  readonly activation?: readonly [name: string, ...parameters: number[]];
}

const scalar = (name: string, value: number) => ({ name, dims: [], dataType: f32, floatData: [value] });
const zero = (name: string, value: number) => ({ name, dims: [], dataType: uint8, int32Data: [value] });
const info = (name: string, dims: readonly number[]) => ({
  name,
  type: { tensorType: { elemType: f32, shape: { dim: dims.map((dimValue) => ({ dimValue })) } } },
});

/** Nodes in the order given; an operator of onnxruntime's own is one that ONNX lacks. */
function file(nodes: readonly (Made & { output: string })[], output: readonly number[]): Uint8Array {
  const own =
    /^(QLinear(?!MatMul|Conv$)|BiasGelu|FusedConv|QGemm|GatherBlockQuantized|DynamicQuantizeMatMul|QAttention|QEmbedLayerNormalization|MatMulIntegerToFloat)/;
  return fileOf({
    input: [info("a", shape), info("b", shape)],
    output: [info("y", output)],
    initializer: [
      ...[scalar("as", 0.02), scalar("bs", 0.03), scalar("ys", step)],
      ...[zero("az", 120), zero("bz", 131), zero("yz", 90)],
      { name: "half", dims: [4], dataType: 10, int32Data: [0x3c00, 0x3c00, 0x4000, 0x4000] },
      { name: "w", dims: [2, 3, 1, 1], dataType: f32, floatData: [0.5, -1, 0.3, 0.2, 0.9, -0.4] },
      {
        name: "qw",
        dims: [3, 20],
        dataType: int8,
        int32Data: Array.from({ length: 60 }, (_, i) => ((i * 37) % 201) - 100),
      },
      {
        name: "qm",
        dims: [5, 3],
        dataType: int8,
        int32Data: Array.from({ length: 15 }, (_, i) => ((i * 37) % 201) - 100),
      },
      { name: "rows", dims: [3], dataType: int64, int64Data: [2, 12, 5] },
      {
        name: "pw",
        dims: [5, 12],
        dataType: int8,
        int32Data: Array.from({ length: 60 }, (_, i) => ((i * 41) % 191) - 95),
      },
      { name: "pb", dims: [12], dataType: f32, floatData: Array.from({ length: 12 }, (_, i) => Math.sin(i)) },
      { name: "iz", dims: [], dataType: int8, int32Data: [3] },
      { name: "ids", dims: [2, 3], dataType: int32, int32Data: [4, 0, 2, 1, 1, 3] },
      {
        name: "vector",
        dims: [16],
        dataType: uint8,
        int32Data: Array.from({ length: 16 }, (_, i) => (i * 29) % 256),
      },
      { name: "none", dims: [1], dataType: f32, floatData: [0] },
      { name: "mb", dims: [3], dataType: f32, floatData: [0.5, -1, 2] },
      { name: "ws", dims: [3], dataType: f32, floatData: [0.01, 0.02, 0.005] },
      { name: "wz", dims: [3], dataType: int8, int32Data: [0, 0, 0] },
      { name: "qc", dims: [3], dataType: int32, int32Data: [400, -900, 250] },
      {
        name: "table",
        dims: [5, 16],
        dataType: uint8,
        int32Data: Array.from({ length: 80 }, (_, i) => (i * 73) % 256),
      },
      { name: "ts", dims: [5, 2], dataType: f32, floatData: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1] },
      { name: "ts8", dims: [5, 1], dataType: f32, floatData: [0.01, 0.02, 0.03, 0.04, 0.05] },
      { name: "tz", dims: [5, 1], dataType: uint8, int32Data: [0x21, 0x43, 0x65, 0x87, 0xa9] },
      { name: "places", dims: [2, 3], dataType: int64, int64Data: [4, 0, 2, 1, 1, 3] },
      { name: "bias", dims: [5], dataType: f32, floatData: [0.1, -0.2, 0.3, -0.4, 0.5] },
    ],
    node: nodes.map(({ op, input, output, ints = {}, activation }) => ({
      ...{
        opType: op,
        domain: own.test(op) ? "com.microsoft" : "",
        name: output,
        input: [...input],
        output: op === "QEmbedLayerNormalization" ? [output, "lengths"] : [output],
      },
      attribute: [
        ...Object.entries(ints).map(([name, i]) =>
          typeof i === "number" ? { name, type: 2, i } : { name, type: 7, ints: [...i] },
        ),
        ...(activation ? [{ name: "activation", type: 3, s: new TextEncoder().encode(activation[0]) }] : []),
        ...(activation ? [{ name: "activation_params", type: 6, floats: activation.slice(1) }] : []),
      ],
    })),
  });
}

const values = (seed: number) => Float32Array.from({ length: 120 }, (_, i) => 2 * Math.sin(seed + i * 1.7));

async function both(bytes: Uint8Array): Promise<{ made: number[]; want: number[] }> {
  const fed = (seed: number) => ({ type: "float32" as const, dims: shape, values: values(seed) });
  const [y] = await computedTwice(bytes, { a: fed(1), b: fed(2) });
  return y!;
}

/** Quantizes both inputs, computes, and gives the floats. */
const quantized = ({ op, input, ints }: Made, output: readonly number[]) =>
  file(
    [
      { op: "QuantizeLinear", input: ["a", "as", "az"], output: "qa" },
      { op: "QuantizeLinear", input: ["b", "bs", "bz"], output: "qb" },
      { op, input, output: "qy", ...(ints && { ints }) },
      { op: "DequantizeLinear", input: ["qy", "ys", "yz"], output: "y" },
    ],
    output,
  );

const one = ["qa", "as", "az", "ys", "yz"];
const two = ["qa", "as", "az", "qb", "bs", "bz", "ys", "yz"];

it.each<[string, Made, readonly number[]]>([
  ["QLinearAdd", { op: "QLinearAdd", input: two }, shape],
  ["QLinearMul", { op: "QLinearMul", input: two }, shape],
  ["QLinearSigmoid", { op: "QLinearSigmoid", input: one }, shape],
  ["QLinearLeakyRelu", { op: "QLinearLeakyRelu", input: one }, shape],
  ["QLinearSoftmax", { op: "QLinearSoftmax", input: one, ints: { axis: 1, opset: 13 } }, shape],
  ["QLinearConcat", { op: "QLinearConcat", input: ["ys", "yz", ...two.slice(0, 6)], ints: { axis: 2 } }, [2, 3, 8, 5]],
  [
    "QLinearAveragePool",
    { op: "QLinearAveragePool", input: one, ints: { kernel_shape: [2, 3], strides: [1, 2], pads: [1, 1, 0, 1] } },
    [2, 3, 4, 3],
  ],
  [
    "QLinearGlobalAveragePool",
    { op: "QLinearGlobalAveragePool", input: one, ints: { channels_last: 0 } },
    [2, 3, 1, 1],
  ],
])("%s, to the step of its result", async (_, made, output) => {
  const found = await both(quantized(made, output));
  expect(found.made.length).toBe(found.want.length);
  expect(new Set(Array.from(found.want)).size).toBeGreaterThan(3);
  const off = Array.from(found.want, (v, i) => Math.abs(v - found.made[i]!) / step);
  // onnxruntime rounds sums of f32: at a tie the neighbouring step, and no further.
  expect(Math.max(...off)).toBeLessThan(1.01);
  expect(off.filter((d) => d > 0.01).length).toBeLessThanOrEqual(Math.ceil(off.length / 20));
});

it("BiasGelu", async () => {
  const { made, want } = await both(file([{ op: "BiasGelu", input: ["a", "bias"], output: "y" }], shape));
  Array.from(want).forEach((v, i) => {
    expect(made[i]).toBeCloseTo(v, 5);
  });
});

it.each<{ activation: readonly [string, ...number[]] }>([
  { activation: ["Relu"] },
  { activation: ["Tanh"] },
  { activation: ["LeakyRelu", 0.2] },
  { activation: ["Clip", -0.4, 0.6] },
  { activation: ["HardSigmoid", 0.3, 0.4] },
])("FusedConv with $activation", async ({ activation }) => {
  const { made, want } = await both(
    file([{ op: "FusedConv", input: ["a", "w"], output: "y", activation }], [2, 2, 4, 5]),
  );
  Array.from(want).forEach((v, i) => {
    expect(made[i]).toBeCloseTo(v, 5);
  });
});

it("scales of a resize that the conversion to f16 casts", async () => {
  const nodes = [
    { op: "Cast", input: ["half"], output: "scales", ints: { to: 1 } },
    { op: "Resize", input: ["a", "", "scales"], output: "y" },
  ];
  const { made, want } = await both(file(nodes, [2, 3, 8, 10]));
  expect(Array.from(made)).toEqual(Array.from(want));
});

it("nodes in any order, as the conversion to f16 leaves them", async () => {
  const nodes = [
    { op: "Mul", input: ["sum", "difference"], output: "y" },
    { op: "Sub", input: ["sum", "b"], output: "difference" },
    { op: "Add", input: ["a", "b"], output: "sum" },
  ];
  const { made, want } = await both(file(nodes, shape));
  Array.from(want).forEach((v, i) => {
    expect(made[i]).toBeCloseTo(v, 5);
  });
  const circle = [nodes[0]!, { op: "Add", input: ["a", "y"], output: "sum" }, nodes[1]!];
  await expect(importOnnx(file(circle, shape))).rejects.toThrow(/reads "(sum|y)", which no earlier node produces/);
});

const rows = [
  { op: "Flatten", input: ["a"], output: "flat", ints: { axis: 2 } },
  { op: "QuantizeLinear", input: ["flat", "as", "az"], output: "qa" },
];
const gemm = ["qa", "as", "az", "qw", "ws", "wz", "qc"];

it("QGemm to floats, with a scale for each column", async () => {
  const nodes = [...rows, { op: "QGemm", input: gemm, output: "y", ints: { transB: 1 } }];
  const { made, want } = await both(file(nodes, [6, 3]));
  expect(Math.max(...Array.from(want, (v, i) => Math.abs(v - made[i]!)))).toBeLessThan(1e-4);
});

it("QGemm to integers, to the step of its result", async () => {
  const nodes = [
    ...rows,
    { op: "QGemm", input: [...gemm, "bs", "yz"], output: "qy", ints: { transB: 1 } },
    { op: "DequantizeLinear", input: ["qy", "bs", "yz"], output: "y" },
  ];
  const { made, want } = await both(file(nodes, [6, 3]));
  expect(new Set(Array.from(want)).size).toBeGreaterThan(5);
  expect(Math.max(...Array.from(want, (v, i) => Math.abs(v - made[i]!)))).toBeLessThan(0.0301);
});

it.each([
  { zeros: ["tz"], bits: 4, width: 32 },
  { zeros: [], bits: 4, width: 32 },
  { zeros: [], bits: 8, width: 16 },
])("GatherBlockQuantized of $bits bits, zero points: $zeros", async ({ zeros, bits, width }) => {
  const ints = { bits, block_size: 16 };
  const scales = bits === 8 ? "ts8" : "ts";
  const nodes = [{ op: "GatherBlockQuantized", input: ["table", "places", scales, ...zeros], output: "y", ints }];
  const { made, want } = await both(file(nodes, [2, 3, width]));
  expect(Math.max(...Array.from(want, (v, i) => Math.abs(v - made[i]!)))).toBeLessThan(1e-5);
});

it("DynamicQuantizeMatMul, to the step of its operand", async () => {
  const nodes = [{ op: "DynamicQuantizeMatMul", input: ["a", "qm", "ws", "wz", "mb"], output: "y" }];
  const { made, want } = await both(file(nodes, [2, 3, 4, 3]));
  expect(Math.max(...Array.from(want, (v, i) => Math.abs(v - made[i]!)))).toBeLessThan(1e-4);
});

it("MatMulIntegerToFloat", async () => {
  const nodes = [
    { op: "QuantizeLinear", input: ["a", "as", "az"], output: "qa" },
    { op: "MatMulIntegerToFloat", input: ["qa", "qm", "as", "ws", "az", "wz", "mb"], output: "y" },
  ];
  const { made, want } = await both(file(nodes, [2, 3, 4, 3]));
  expect(Math.max(...Array.from(want, (v, i) => Math.abs(v - made[i]!)))).toBeLessThan(1e-4);
});

it("QAttention", async () => {
  const nodes = [
    { op: "QuantizeLinear", input: ["a", "as", "az"], output: "qa" },
    { op: "Reshape", input: ["qa", "rows"], output: "qr" },
    {
      op: "QAttention",
      input: ["qr", "pw", "pb", "as", "bs", "", "az", "iz"],
      output: "y",
      ints: { num_heads: 2, unidirectional: 1 },
    },
  ];
  const { made, want } = await both(file(nodes, [2, 12, 4]));
  expect(Math.max(...Array.from(want, (v, i) => Math.abs(v - made[i]!)))).toBeLessThan(1e-4);
});

it.each<Made & { size: readonly number[] }>([
  { op: "MatMulIntegerToFloat", input: ["qa", "qm", "as", "ws", "az", "wz", "mb"], size: [2, 3, 4, 3] },
  {
    ...{ op: "QAttention", input: ["qr", "pw", "pb", "as", "bs", "", "az", "iz"], size: [2, 12, 4] },
    ints: { num_heads: 2, unidirectional: 1 },
  },
])("$op with scales in f16 gives f16", async ({ op, input, size, ints = {} }) => {
  const wide = [
    { op: "QuantizeLinear", input: ["a", "as", "az"], output: "qa" },
    { op: "Reshape", input: ["qa", "rows"], output: "qr" },
  ];
  const { want } = await both(file([...wide, { op, input, output: "y", ints }], size));
  const halves = input.filter((name) => ["as", "bs", "ws", "mb", "pb"].includes(name));
  const nodes = [
    ...wide,
    ...halves.map((name) => ({ op: "Cast", input: [name], output: `${name}h`, ints: { to: 10 } })),
    { op, input: input.map((name) => (halves.includes(name) ? `${name}h` : name)), output: "y", ints },
  ];
  const model = decodeModel(file(nodes, size));
  model.graph!.output![0]!.type!.tensorType!.elemType = 10;
  const { graph, parameters } = await importOnnx(encodeModel(model));
  const feeds = new Map([["a", Float64Array.from(values(1))]]);
  for (const [name, { read }] of parameters) feeds.set(name, Float64Array.from((await read()).data));
  expect(graph.outputs[0]!.node.type.dtype).toBe("f16");
  const made = evaluate(graph, feeds).get("y")!.data;
  const largest = Math.max(...want.map(Math.abs));
  expect(Math.max(...want.map((v, i) => Math.abs(v - made[i]!))) / largest).toBeLessThan(2e-3);
});

it("SimplifiedLayerNormalization, with 1 / the root of the mean of the squares", async () => {
  const bytes = fileOf({
    input: [info("a", shape), info("g", [4, 5])],
    output: [info("y", shape), info("r", [2, 3, 1, 1])],
    node: [
      {
        ...{ opType: "SimplifiedLayerNormalization", name: "n", input: ["a", "g"], output: ["y", "r"] },
        attribute: [{ name: "axis", type: 2, i: -2 }],
      },
    ],
  });
  const fed = (seed: number, dims: readonly number[]) => ({ type: "float32" as const, dims, values: values(seed) });
  const given = { a: fed(1, shape), g: { ...fed(2, [4, 5]), values: values(2).slice(0, 20) } };
  for (const { made, want, axes } of await computedTwice(bytes, given)) {
    expect(axes).toHaveLength(4);
    expect(Math.max(...want.map((v, i) => Math.abs(v - made[i]!)))).toBeLessThan(1e-5);
  }
});

it("QEmbedLayerNormalization", async () => {
  const input = [
    "ids",
    "",
    "table",
    "table",
    "",
    "vector",
    "vector",
    "",
    "as",
    "bs",
    "",
    "ys",
    "as",
    "az",
    "bz",
    "",
    "yz",
    "az",
  ];
  const nodes = [
    { op: "QEmbedLayerNormalization", input, output: "z", ints: {} },
    { op: "Add", input: ["z", "none"], output: "y" },
  ];
  const { made, want } = await both(file(nodes, [2, 3, 16]));
  expect(Math.max(...Array.from(want, (v, i) => Math.abs(v - made[i]!)))).toBeLessThan(1e-4);
});

it("a value that is quantized and dequantized takes few nodes in the file that is written", async () => {
  const nodes = [
    { op: "QuantizeLinear", input: ["a", "as", "az"], output: "qa" },
    { op: "DequantizeLinear", input: ["qa", "as", "az"], output: "y" },
  ];
  const { graph } = await importOnnx(file(nodes, shape));
  const written = decodeModel(await encodeOnnx(exportOnnx(graph))).graph!.node!;
  const operators = ["Div", "Round", "Add", "Max", "Min", "Sub", "Mul"];
  expect(written.map((n) => n.opType)).toEqual(operators);
});
