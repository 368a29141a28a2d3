/**
 * Weights kept as integers of 8 and 4 bits: what they stand for, what kernels make of them, and how far that is from
 * f32.
 */
import { describe, expect, test } from "vitest";
import { evaluate, referenceBackend } from "../../backends/reference/index.ts";
import { emitWgsl, webgpuBackend } from "../../backends/webgpu/index.ts";
import {
  type AdapterFacts,
  baselineFacts,
  bindSizes,
  compileKernels,
  elementCount,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  isParameter,
  keepWeightsAs,
  kernelIr,
  makeGraph,
  memoryOf,
  ops,
  parseGraph,
  printGraph,
  runProgram,
  type SizedAxis,
  symbol,
} from "../../compiler/index.ts";
import { createSession, quantized, quantizingSource, randomStream } from "../../runtime/index.ts";
import { gpuTest, validatingDevice } from "../support/adapter.ts";
import { excess } from "../support/samples.ts";

const axis = (name: string, size: number) => ({ name, size });
const normal = { kind: "normal", mean: 0, std: 1 } as const;
const parameter = (name: string, ...axes: readonly SizedAxis[]) => ops.parameter(name, "f32", axes, normal);

/**
 * Two layers as decoders have them: rows of a table, a projection to heads, one from heads back, and scores by the
 * table. The sums of the first are whole blocks of 32, those of heads are not; the last weight keeps its sum in front.
 */
function decoder(rows: number | "open"): Graph {
  const row = { name: "row", size: rows === "open" ? symbol("rows") : rows };
  const [vocab, embed, heads, width, inner] = [
    axis("vocab", 41),
    axis("embed", 64),
    axis("heads", 3),
    axis("width", 20),
    axis("inner", 72),
  ];
  const table = parameter("table", vocab, embed);
  const x = ops.gather(table, ops.input("ids", "i32", [row]), "vocab");
  const mixed = ops.contract(x, parameter("to.heads", heads, width, embed), ["embed"]);
  const back = ops.contract(mixed, parameter("from.heads", embed, heads, width), ["heads", "width"]);
  const h = ops.gelu(ops.contract(ops.mul(back, 0.05), parameter("fc1", embed, inner), ["embed"]));
  const y = ops.add(ops.contract(h, parameter("fc2", embed, inner), ["inner"]), parameter("bias", embed));
  return makeGraph("decoder", [
    { name: "y", node: y },
    { name: "scores", node: ops.contract(y, table, ["embed"]) },
  ]);
}

const drawn = (name: string, axes: readonly SizedAxis[]) =>
  hostTensor("f32", axes, randomStream(3, name).fill(normal, elementCount(axes)));

const weightsOf = (graph: Graph) =>
  new Map(graph.inputs.filter(isParameter).map((n) => [inputName(n), drawn(inputName(n), n.type.axes as SizedAxis[])]));

/** The graph with its weights as integers, those, and the floats that they stand for under the original names. */
async function kept(graph: Graph, dtype: "int8" | "int4") {
  const weights = weightsOf(graph);
  const source = quantizingSource({ read: async (name) => weights.get(name)! });
  const { graph: made, quantized } = keepWeightsAs(graph, dtype);
  source.keep(quantized);
  const stored = new Map<string, HostTensor>();
  for (const node of made.inputs.filter(isParameter)) {
    const value = await source.read(inputName(node), node.type.dtype);
    expect(value.axes).toEqual(node.type.axes);
    stored.set(
      inputName(node),
      value.dtype === node.type.dtype ? value : { ...value, dtype: "f16", data: Float16Array.from(value.data) },
    );
  }
  return { made, quantized, stored, weights };
}

const doubles = (tensors: ReadonlyMap<string, HostTensor>) =>
  new Map([...tensors].map(([name, { data }]) => [name, Float64Array.from(data as ArrayLike<number>)]));

const gpu: AdapterFacts = { ...baselineFacts, maxBindings: 16, maxWorkgroupStorage: 32 * 1024 };
const machines: readonly (readonly [string, AdapterFacts])[] = [
  ["a GPU with the least", baselineFacts],
  ["a GPU with subgroups", { ...gpu, features: new Set(["subgroups"]), subgroupSizes: { min: 32, max: 32 } }],
  ["an H200", { ...gpu, ...kernelIr.recordedAdapters["nvidia-h200"].facts }],
  ["a software adapter", { ...gpu, software: true }],
];

describe.each(["int8", "int4"] as const)("weights kept as %s", (dtype) => {
  const bits = dtype === "int8" ? 8 : 4;

  test("are matrices that all users sum over the same axes, or take rows of", async () => {
    const { made, quantized, stored, weights } = await kept(decoder(3), dtype);
    expect(quantized.map((q) => [q.parameter, q.order.join()])).toEqual([
      ["table", "vocab,embed"],
      ["to.heads", "heads,width,embed"],
      ["from.heads", "embed,heads,width"],
      ["fc1", "inner,embed"],
      ["fc2", "embed,inner"],
    ]);
    expect(printGraph(parseGraph(printGraph(made)))).toBe(printGraph(made));
    // A word holds 32 bits of them; a scale of two bytes is for a row, or for 32 neighbours.
    const elements = [...weights].reduce((n, [name, w]) => n + (name === "bias" ? 0 : w.data.length), 0);
    const bytes = [...stored].reduce((n, [name, w]) => n + (name === "bias" ? 0 : w.data.byteLength), 0);
    expect(bytes).toBeLessThan(elements * (bits === 8 ? 1.1 : 0.75));
    expect(memoryOf(compileKernels(made, gpu)).parameters).toBe(bytes + 4 * 64);
  });

  test("stand for what is off by half a scale at most, or by one beyond the last integer", async () => {
    const graph = decoder(2);
    const { quantized, stored, weights } = await kept(graph, dtype);
    for (const q of quantized) {
      const single = makeGraph("one", [
        { name: "w", node: ops.add(graph.inputs.find((n) => inputName(n) === q.parameter)!, 0) },
      ]);
      expect(keepWeightsAs(single, dtype).quantized).toEqual([]); // used as it is
      const unit = identityOver(graph, q.parameter, q.order.slice(q.scales.axes.length - 1));
      const { graph: only } = keepWeightsAs(unit, dtype);
      const got = evaluate(only, doubles(stored)).get("w")!.data;
      const want = evaluate(unit, doubles(weights)).get("w")!.data;
      const scales = stored.get(q.scales.name)!.data as Float16Array;
      const each = q.depth;
      const perRow = Math.ceil(q.depth / q.block);
      for (let i = 0; i < got.length; i++) {
        const scale = scales[Math.floor(i / each) * perRow + Math.floor((i % each) / q.block)]!;
        // Of -8 to 7 there is no 8: what lies so far opposite to the farthest number is off by up to a whole scale.
        const isBeyond = bits === 4 && want[i]! / scale > 7;
        if (isBeyond) expect(got[i]!).toBeCloseTo(7 * scale, 5);
        expect(Math.abs(got[i]! - want[i]!)).toBeLessThanOrEqual(Math.abs(scale) / (isBeyond ? 1 : 2) + 1e-6);
      }
    }
  });

  test.each(machines)("are decoded by kernels of %s as the reference decodes them", async (_, facts) => {
    for (const rows of [1, 2, 5, 13]) {
      const { made, stored } = await kept(decoder(rows), dtype);
      const ids = Float64Array.from({ length: rows }, (_, i) => (7 * i + 3) % 41);
      const values = new Map([...doubles(stored), ["ids", ids] as const]);
      const program = compileKernels(made, facts);
      for (const { kernel } of program.kernels) expect(kernelIr.checkFeasible(kernel, facts)).toEqual([]);
      const { outputs } = runProgram(program, values, {});
      for (const [name, want] of evaluate(made, values))
        expect(excess(outputs.get(name)!, want.data, 1e-4, 1e-4)).toBeLessThanOrEqual(0);
    }
  });

  test("are read eight at a time where a row is long, and scaled once for all eight", () => {
    const [row, embed, out] = [axis("row", 2), axis("embed", 4096), axis("out", 64)];
    const y = ops.contract(ops.input("x", "f32", [row, embed]), parameter("w", out, embed), ["embed"]);
    const { graph } = keepWeightsAs(makeGraph("long", [{ name: "y", node: y }]), dtype);
    const facts = { ...gpu, ...kernelIr.recordedAdapters["nvidia-h200"].facts };
    const { kernel } = compileKernels(graph, facts).kernels[0]!;
    const words = kernel.buffers.find((b) => b.dtype === "u32")!;
    expect(words.width).toBe(bits === 8 ? 2 : undefined);
    const text = emitWgsl(kernel);
    const loads = text.match(new RegExp(`\\b${words.name}\\[`, "g"))!.length;
    const calls = text.match(new RegExp(`= \\(?dequantize_int${bits}\\(\\w+(\\.[xy])?, \\du, 1.0f\\)`, "g"))!;
    expect(calls).toHaveLength(loads * 8); // every integer of a load is decoded once, for both rows, without its scale
  });

  test("make valid WGSL", async () => {
    const device = await validatingDevice();
    for (const rows of [1, 4, 40]) await webgpuBackend(device).compile(keepWeightsAs(decoder(rows), dtype).graph);
    device.check();
  });

  gpuTest("run on a device at sizes that stay open, near what f32 gives", async ({ gpu }) => {
    const { made, stored, weights } = await kept(decoder("open"), dtype);
    const session = await createSession(webgpuBackend(gpu), made, stored);
    const exact = await createSession(referenceBackend(), made, stored);
    const floats = await createSession(referenceBackend(), decoder("open"), weights);
    for (const rows of [1, 5]) {
      const ids = Int32Array.from({ length: rows }, (_, i) => (11 * i + 2) % 41);
      const feeds = { ids: hostTensor("i32", [axis("row", rows)], ids) };
      const [got, want, f32] = [await session.run(feeds), await exact.run(feeds), await floats.run(feeds)];
      for (const name of ["y", "scores"]) {
        expect(excess(got[name]!.data, want[name]!.data, 1e-3, 1e-4)).toBeLessThanOrEqual(0);
        // Relative to the size of all, not of each: errors of weights are independent of one another.
        expect(relativeError(got[name]!.data, f32[name]!.data)).toBeLessThan(bits === 8 ? 0.03 : 0.3);
      }
    }
  });
});

test("in 4 bits are nearer than with scales of the largest magnitude over 7", async () => {
  const weight = drawn("normal", [axis("out", 64), axis("in", 256)]);
  const [out, inner] = weight.axes as [SizedAxis, SizedAxis];
  const graph = makeGraph("one", [
    { name: "y", node: ops.contract(ops.input("x", "f32", [inner]), parameter("w", out, inner), ["in"]) },
  ]);
  const [q] = keepWeightsAs(graph, "int4").quantized;
  const made = quantized(q!, weight);
  const unit = identityOver(graph, "w", ["in"]);
  const stored = new Map([[q!.words.name, made.words] as const, [q!.scales.name, made.scales] as const]);
  const got = evaluate(keepWeightsAs(unit, "int4").graph, doubles(stored)).get("w")!.data;
  const overSeven = weight.data.map((x, i) => {
    const block = weight.data.slice(i - (i % 32), i - (i % 32) + 32) as Float32Array;
    const scale = Math.max(...block.map(Math.abs)) / 7;
    return Math.round(x / scale) * scale;
  });
  expect(relativeError(got, weight.data)).toBeLessThan(0.92 * relativeError(overSeven, weight.data)); // about 0.885
});

test("a weight beyond what scales in f16 reach is refused by name", async () => {
  const graph = decoder(1);
  const source = quantizingSource({
    read: async (name) => {
      const value = weightsOf(graph).get(name)!;
      value.data[5] = 1e9;
      return value;
    },
  });
  source.keep(keepWeightsAs(graph, "int4").quantized);
  await expect(source.read("fc1:int4", "u32")).rejects.toThrow(
    /"fc1": a weight of 1000000000 is too large for 4-bit integers with f16 scales\n {2}hint: keep weights in f32/,
  );
});

test("what a graph updates, and what users sum over different axes, stays as it is", () => {
  const [a, b] = [axis("a", 64), axis("b", 64)];
  const w = parameter("w", a, b);
  const both = makeGraph("both", [
    { name: "x", node: ops.contract(ops.input("x", "f32", [a]), w, ["a"]) },
    { name: "y", node: ops.contract(ops.input("y", "f32", [b]), w, ["b"]) },
  ]);
  expect(keepWeightsAs(both, "int4").quantized).toEqual([]);
  expect(bindSizes(keepWeightsAs(both, "int4").graph, {}).inputs.map((n) => n.type.dtype)).toContain("f16");
});

/** A contraction of a parameter with the identity over the axes that its users sum over: it is the parameter. */
function identityOver(graph: Graph, name: string, over: readonly string[]): Graph {
  const node = graph.inputs.find((n) => inputName(n) === name)!;
  const axes = node.type.axes as readonly SizedAxis[];
  const summed = over.map((o) => axes.find((x) => x.name === o)!);
  const unit = summed.reduce<ReturnType<typeof ops.cast> | undefined>((product, { name: n, size }) => {
    const one = ops.cast(ops.eq(ops.iota({ name: `${n}_out`, size }), ops.iota({ name: n, size })), "f32");
    return product ? ops.mul(product, one) : one;
  }, undefined)!;
  const kept = axes.filter((x) => !over.includes(x.name)).map((x) => x.name);
  const w = ops.contract(node, unit, over);
  return makeGraph("unit", [{ name: "w", node: ops.transpose(w, [...kept, ...over.map((o) => `${o}_out`)]) }]);
}

function relativeError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let [off, all] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    off += (got[i]! - want[i]!) ** 2;
    all += want[i]! ** 2;
  }
  return Math.sqrt(off / all);
}
