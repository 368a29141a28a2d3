/** Sums over leading axes: a product with ones where onnxruntime runs it, and ReduceSum in standard files. */
import { expect, it } from "vitest";
import { encodeOnnx, exportOnnx } from "../../backends/onnx/index.ts";
import { cpuBackend, verifyExport } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { hostTensor, makeGraph, ops } from "../../compiler/index.ts";

const axes = [
  { name: "batch", size: 3 },
  { name: "token", size: 5 },
  { name: "embed", size: 7 },
];
const x = ops.input("x", "f32", axes);
const fed = {
  x: hostTensor(
    "f32",
    axes,
    Float32Array.from({ length: 105 }, (_, i) => Math.sin(i)),
  ),
};

it.each([
  { over: ["batch", "token"], dialect: "onnxruntime", operator: "MatMul" },
  { over: ["batch"], dialect: "onnxruntime", operator: "MatMul" },
  { over: ["token"], dialect: "onnxruntime", operator: "ReduceSum" },
  { over: ["batch", "token", "embed"], dialect: "onnxruntime", operator: "ReduceSum" },
  { over: ["batch", "token"], dialect: "standard", operator: "ReduceSum" },
] as const)("over $over in the dialect $dialect is a $operator", async ({ over, dialect, operator }) => {
  const graph = makeGraph("sums", [{ name: "y", node: ops.reduceSum(x, [...over]) }]);
  const made = exportOnnx(graph, { dialect });
  expect(made.model.graph!.node!.map((n) => n.opType)).toContain(operator);
  const backend = referenceBackend();
  const want = await (await backend.compile(graph)).run(fed, backend.createStore());
  const { maxAbsDiff } = await verifyExport(await encodeOnnx(made), fed, want);
  expect(maxAbsDiff).toBeLessThan(1e-5);
});

it.each([2 ** 18, 3 ** 11, 40_009])("a sum of all of %i elements is as exact as one in pairs", async (size) => {
  const element = [{ name: "element", size }];
  const v = ops.input("v", "f32", element);
  const graph = makeGraph("sum", [{ name: "y", node: ops.reduceSum(ops.mul(v, v), ["element"]) }]);
  const data = Float32Array.from({ length: size }, (_, i) => 1 + 0.1 * Math.sin(i));
  const exact = data.reduce((sum, x) => sum + Math.fround(x * x), 0);
  const backend = await cpuBackend({ threads: 1 });
  const executable = await backend.compile(graph);
  const found = await executable.run({ v: hostTensor("f32", element, data) }, backend.createStore());
  executable.dispose();
  // A prime number of elements stays one sum.
  expect(Math.abs(found.y!.data[0]! / exact - 1)).toBeLessThan(size === 40_009 ? 1e-5 : 2e-7);
});
