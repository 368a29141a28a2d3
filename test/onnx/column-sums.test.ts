/** Sums over leading axes: a product with ones where onnxruntime runs it, and ReduceSum in standard files. */
import { expect, it } from "vitest";
import { encodeOnnx, exportOnnx } from "../../backends/onnx/index.ts";
import { verifyExport } from "../../backends/onnxruntime/index.ts";
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
