/** The worked examples of docs/adding-an-op.md: one record in one file each, and everything else follows. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { evaluate } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import {
  differentiate,
  hostTensor,
  makeGraph,
  type Node,
  opRecord,
  ops,
  parseGraph,
  printGraph,
  typed,
} from "../../compiler/index.ts";
import { axis } from "../../dsl/index.ts";
import { flip } from "../../examples/ops/flip.ts";
import { reduceLogMeanExp } from "../../examples/ops/log-mean-exp.ts";
import { mish } from "../../examples/ops/mish.ts";
import { gpuTest } from "../support/adapter.ts";
import { describeRecords } from "../support/record-checks.ts";
import { excess } from "../support/samples.ts";

const examples = [
  { file: "examples/ops/mish.ts", record: mish.record, apply: (x: Node) => mish(x) },
  {
    file: "examples/ops/log-mean-exp.ts",
    record: reduceLogMeanExp.record,
    apply: (x: Node) => reduceLogMeanExp(x, ["a"]),
  },
  { file: "examples/ops/flip.ts", record: flip.record, apply: (x: Node) => flip(typed<"a">(x), axis("a", 17)) },
];

describeRecords(examples.map((e) => e.record));

it.each(examples)("the document shows $file as it is", ({ file }) => {
  const document = readFileSync("docs/adding-an-op.md", "utf8");
  expect(document).toContain(readFileSync(file, "utf8").trim());
});

it.each(examples)("$record.name is known by name and can be trained through", ({ record, apply }) => {
  expect(opRecord(record.name)).toBe(record);
  const x = ops.input("x", "f32", [{ name: "a", size: 3 }]);
  const [gradient] = differentiate(total(apply(x)), [x]);
  expect(gradient!.type.axes).toEqual([{ name: "a", size: 3 }]);
});

const total = (y: Node): Node => (y.type.axes.length === 0 ? y : ops.reduceSum(ops.mul(y, y), ["a"]));

/** Each op and its gradient, on an executor and in the interpreter. */
async function agrees(backend: Backend): Promise<void> {
  const axes = [{ name: "a", size: 17 }];
  const x = ops.input("x", "f32", axes);
  const outputs = examples.flatMap(({ record, apply }) => {
    const y = apply(x);
    const [slope] = differentiate(total(y), [x]);
    return [
      { name: record.name, node: y },
      { name: `slope of ${record.name}`, node: slope! },
    ];
  });
  const graph = makeGraph("examples", outputs);
  expect(parseGraph(printGraph(graph)).outputs.map((o) => o.node)).toEqual(outputs.map((o) => o.node));
  const data = Float32Array.from({ length: 17 }, (_, i) => i - 8.25);
  const executable = await backend.compile(graph);
  const got = await executable.run({ x: hostTensor("f32", axes, data) }, backend.createStore());
  const want = evaluate(graph, new Map([["x", Float64Array.from(data)]]));
  for (const { name } of outputs) {
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
