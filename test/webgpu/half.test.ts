/**
 * f16 tensors: parameters that any adapter reads; results where the adapter has the type, one clear error where not.
 */
import { expect, test } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { emitWgsl, webgpuBackend } from "../../backends/webgpu/index.ts";
import {
  hostTensor,
  inputName,
  keepParametersAs,
  makeGraph,
  ops,
  type SizedAxis,
  UnsupportedError,
} from "../../compiler/index.ts";
import { defineModel, trace } from "../../dsl/index.ts";
import { createSession, randomStream } from "../../runtime/index.ts";
import { block, tokensInput, trainedClassifier } from "../kernels/models.ts";
import { gpuTest, validatingDevice } from "../support/adapter.ts";

function halfGraph() {
  const x = ops.input("x", "f16", [
    { name: "m", size: 24 },
    { name: "k", size: 16 },
  ]);
  const w = ops.input("w", "f16", [
    { name: "n", size: 12 },
    { name: "k", size: 16 },
  ]);
  return makeGraph("half", [{ name: "y", node: ops.softmax(ops.contract(x, w, ["k"]), "n") }]);
}

test("f16 kernels are valid on a device with the type", async () => {
  const device = await validatingDevice();
  expect(device.features.has("shader-f16")).toBe(true);
  const executable = await webgpuBackend(device).compile(halfGraph());
  expect(executable.program().kernels.every((k) => k.kernel.buffers.every((b) => b.dtype === "f16"))).toBe(true);
  device.check();
});

gpuTest("f16 is refused by name on a device without it", async ({ gpu }) => {
  if (gpu.features.has("shader-f16")) return;
  const compiling = webgpuBackend(gpu).compile(halfGraph());
  await expect(compiling).rejects.toThrow(UnsupportedError);
  await expect(compiling).rejects.toThrow(/has no f16 .* kernel "contract" needs/);
});

gpuTest("a cast to f16 that such a device cannot store is one error at the user's line", async ({ gpu }) => {
  if (gpu.features.has("shader-f16")) return;
  const x = ops.input("x", "f32", [{ name: "a", size: 4 }]);
  const y = ops.cast(ops.exp(x), "f16");
  const compiling = webgpuBackend(gpu).compile(makeGraph("narrow", [{ name: "y", node: y }]));
  await expect(compiling).rejects.toThrow(UnsupportedError);
  await expect(compiling).rejects.toThrow(
    /kernel "cast" needs\n {2}the f16 comes from cast at .*half\.test\.ts:\d+:\d+\n {2}hint: compute in f32/,
  );
});

/** Rows of 7 and 9, which begin in the middle of a word, and rows of 12 that are read four elements at once. */
const sizes = { token: 5, embed: 7, hidden: 9, wide: 16, out: 12 } as const;
const axis = (name: keyof typeof sizes) => ({ name, size: sizes[name] });

function layersGraph() {
  const parameter = (name: string, ...axes: (keyof typeof sizes)[]) =>
    ops.parameter(name, "f32", axes.map(axis), { kind: "normal", mean: 0, std: 1 });
  const x = ops.input("x", "f32", [axis("token"), axis("embed")]);
  const fours = ops.input("four", "f32", [axis("token"), axis("wide")]);
  const inner = ops.add(ops.contract(x, parameter("inner", "hidden", "embed"), ["embed"]), parameter("bias", "hidden"));
  const h = ops.gelu(ops.add(inner, parameter("table", "token", "hidden")));
  const wide = ops.softmax(ops.contract(h, parameter("wide", "wide", "hidden"), ["hidden"]), "wide");
  return makeGraph("layers", [
    { name: "part", node: ops.slice(h, "hidden", 1, 7) },
    { name: "out", node: ops.contract(wide, parameter("out", "out", "wide"), ["wide"]) },
    { name: "fours", node: ops.contract(fours, parameter("fours", "wide", "out"), ["wide"]) },
  ]);
}

const f32 = (name: string, axes: readonly { name: string; size: number }[]) => {
  const count = axes.reduce((n, a) => n * a.size, 1);
  return hostTensor("f32", axes, randomStream(3, name).fill({ kind: "normal", mean: 0, std: 1 }, count));
};

gpuTest("parameters kept in f16 are read on any adapter", async ({ gpu }) => {
  const graph = layersGraph();
  const half = keepParametersAs(graph, "f16");
  const parameters = graph.inputs.filter((n) => n.op === "parameter");
  const kept = new Map(half.inputs.map((n) => [inputName(n), n.type.dtype]));
  expect(kept.get("bias")).toBe("f32");
  const rounded = parameters.map((n) => {
    const { axes, data } = f32(inputName(n), n.type.axes as readonly SizedAxis[]);
    const dtype = kept.get(inputName(n))!;
    const own = dtype === "f16" ? Float16Array.from(data as Float32Array) : data;
    return [inputName(n), hostTensor(dtype, axes, own)] as const;
  });
  const widened = rounded.map(([name, t]) => [name, hostTensor("f32", t.axes, Float32Array.from(t.data))] as const);
  const feeds = {
    x: f32("x", [axis("token"), axis("embed")]),
    four: f32("four", [axis("token"), axis("wide")]),
  };
  const texts = (await webgpuBackend(gpu).compile(half)).program().kernels.map((k) => emitWgsl(k.kernel));
  // A helper is emitted where a kernel calls it: both ways of reading are at work.
  for (const helper of ["fn half(", "fn halves("]) expect(texts.some((text) => text.includes(helper))).toBe(true);
  const expected = await (await createSession(referenceBackend(), graph, new Map(widened))).run(feeds);
  const session = await createSession(webgpuBackend(gpu), half, new Map(rounded));
  const got = await session.run(feeds);
  for (const name of ["part", "out", "fours"]) {
    const difference = got[name]!.data.map((v, i) => Math.abs(v - expected[name]!.data[i]!));
    expect(Math.max(...difference)).toBeLessThan(1e-5);
  }
});

const small = { batch: 2, tokens: 7, width: 12, heads: 3, mlp: 20, depth: 1 };

gpuTest("a block in f16 is right on any adapter, in what its path says", async ({ gpu }) => {
  const graph = trace(
    defineModel({ name: "block", summary: "", config: {}, build: (p) => ({ y: block(p, tokensInput(small), small) }) }),
  );
  const weights = new Map(
    graph.inputs
      .filter((n) => n.op === "parameter")
      .map((n) => [inputName(n), f32(inputName(n), n.type.axes as readonly SizedAxis[])]),
  );
  const x = f32("x", graph.inputs.find((n) => inputName(n) === "x")!.type.axes as readonly SizedAxis[]);
  const expected = (await (await createSession(referenceBackend(), graph, weights)).run({ x })).y!;
  const backend = webgpuBackend(gpu);
  const got = (await (await createSession(backend, graph, weights, { precision: "f16" })).run({ x })).y!;
  const { computes } = backend.precision({ precision: "f16" });
  expect(computes).toBe(gpu.features.has("shader-f16") ? "f16" : "f32");
  const largest = Math.max(...expected.data.map(Math.abs));
  const worst = Math.max(...got.data.map((v, i) => Math.abs(v - expected.data[i]!)));
  expect(worst / largest).toBeLessThan(computes === "f16" ? 4e-3 : 1e-5);
  if (computes === "f16") expect(worst / largest).toBeGreaterThan(1e-6);
});

test("every kernel of a training step in f16 is taken by Dawn", async () => {
  const device = await validatingDevice();
  const wide = { batch: 4, tokens: 257, width: 128, heads: 2, mlp: 192, depth: 1 };
  for (const sizes of [small, wide]) {
    const step = trainedClassifier(sizes, { precision: "f16" });
    const executable = await webgpuBackend(device).compile(step.graph, { precision: "f16" });
    const kernels = executable.program().kernels.map((k) => k.kernel);
    expect(kernels.some((k) => k.buffers.some((b) => b.dtype === "f16" && b.access !== "read"))).toBe(true);
    device.check();
  }
});
