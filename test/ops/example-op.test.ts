/** The worked example of docs/adding-an-op.md: one record in one file, and everything else follows. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { evaluate } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { differentiate, hostTensor, makeGraph, opRecord, ops, parseGraph, printGraph } from "../../compiler/index.ts";
import { mish } from "../../examples/ops/mish.ts";
import { gpuTest } from "../support/adapter.ts";
import { describeRecords } from "../support/record-checks.ts";
import { excess } from "../support/samples.ts";

describeRecords([mish.record]);

it("the document shows the file as it is", () => {
  const document = readFileSync("docs/adding-an-op.md", "utf8");
  expect(document).toContain(readFileSync("examples/ops/mish.ts", "utf8").trim());
});

it("is known by name and can be trained through", () => {
  expect(opRecord("mish").kind).toBe("elementwise");
  const x = ops.input("x", "f32", [{ name: "a", size: 3 }]);
  const [gradient] = differentiate(ops.reduceSum(mish(x), ["a"]), [x]);
  expect(gradient!.type.axes).toEqual([{ name: "a", size: 3 }]);
});

/** mish and its gradient, on an executor and in the interpreter. */
async function agrees(backend: Backend): Promise<void> {
  const axes = [{ name: "a", size: 17 }];
  const x = ops.input("x", "f32", axes);
  const [slope] = differentiate(ops.reduceSum(mish(x), ["a"]), [x]);
  const graph = makeGraph("mish", [
    { name: "y", node: mish(x) },
    { name: "slope", node: slope! },
  ]);
  expect(parseGraph(printGraph(graph)).outputs[0]!.node).toBe(graph.outputs[0]!.node);
  const data = Float32Array.from({ length: 17 }, (_, i) => i - 8.25);
  const executable = await backend.compile(graph);
  const got = await executable.run({ x: hostTensor("f32", axes, data) }, backend.createStore());
  const want = evaluate(graph, new Map([["x", Float64Array.from(data)]]));
  for (const name of ["y", "slope"]) {
    expect(excess(got[name]!.data, want.get(name)!.data, 1e-5, 1e-4)).toBeLessThanOrEqual(0);
  }
  executable.dispose();
}

it("runs in onnxruntime, forward and backward", async () => {
  const backend = await cpuBackend();
  await agrees(backend);
  backend.dispose();
});

gpuTest("runs on WebGPU, forward and backward", async ({ gpu }) => {
  await agrees(webgpuBackend(gpu));
});
