/** Graphs whose sizes are open until a run: compiled once, right at every size, and held to what was declared. */
import { describe, expect, test, vi } from "vitest";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import {
  baselineFacts,
  bindSizes,
  compileKernels,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  isParameter,
  makeGraph,
  ops,
  parseKernel,
  printKernel,
  type SizeBounds,
  symbol,
} from "../../compiler/index.ts";
import { initialValue } from "../../runtime/index.ts";
import { interpretedFor } from "../models/interpreted.ts";
import { gpuTest } from "../support/adapter.ts";
import { preNormBlock } from "../support/pre-norm-block.ts";
import { excess } from "../support/samples.ts";
import { asHardware, tolerance } from "./support.ts";

/** Batch and tokens of a run. */
type Shape = readonly [number, number];
type AnyBackend = ReturnType<typeof referenceBackend>;

const open = preNormBlock();
const within = (batch: Partial<SizeBounds>, tokens: Partial<SizeBounds>): Graph =>
  bindSizes(open, { batch: symbol("batch", batch), tokens: symbol("tokens", tokens) });

function feed([batch, tokens]: Shape): { readonly x: HostTensor } {
  const axes = Object.entries({ batch, token: tokens, embed: 48 }).map(([name, size]) => ({ name, size }));
  const data = Float32Array.from({ length: batch * tokens * 48 }, (_, i) => Math.sin(1.7 * i + batch + tokens));
  return { x: hostTensor("f32", axes, data) };
}

/** A graph on a backend, with weights of its own. */
async function loaded(backend: AnyBackend, graph: Graph) {
  const store = backend.createStore();
  for (const n of graph.inputs.filter(isParameter)) await store.write(inputName(n), initialValue(n, 3));
  const executable = await backend.compile(graph);
  return async (shape: Shape) => (await executable.run(feed(shape), store)).z!;
}

/** Runs all shapes; fails where a backend computes something else than the interpreter, or compiles for one of them. */
async function expectOnce(backend: AnyBackend, graph: Graph, shapes: readonly Shape[]): Promise<void> {
  const [run, reference] = [await loaded(backend, graph), await loaded(referenceBackend(), graph)];
  const compiled = backend.pipelines();
  expect(compiled).toBeGreaterThan(0);
  for (const shape of shapes) {
    const [got, want] = [await run(shape), await reference(shape)];
    expect(got.axes).toEqual(want.axes);
    expect(excess(got.data, want.data, tolerance.absolute, tolerance.relative), `at ${shape}`).toBeLessThanOrEqual(0);
    expect(backend.pipelines(), `at ${shape}`).toBe(compiled);
  }
}

/** Sizes of every run differ: one row, few, more than a tile, odd ones, smaller again. */
const shapes: readonly Shape[] = [
  [1, 1],
  [1, 3],
  [2, 1],
  [3, 5],
  [1, 8],
  [2, 9],
  [5, 7],
  [4, 17],
  [1, 70],
  [2, 2],
];

describe("a batch and a number of tokens that change every run compile nothing", () => {
  gpuTest("with the schedules of a software adapter", async ({ gpu }) => {
    await expectOnce(webgpuBackend(gpu), open, shapes);
  });

  // Interpreted: the software adapter takes half a minute to compile them, and has those for few rows below.
  gpuTest("with those of hardware", async ({ gpu }) => {
    const weights = new Map(open.inputs.filter(isParameter).map((n) => [inputName(n), initialValue(n, 3)]));
    const run = await interpretedFor(asHardware(gpu), open, weights);
    const reference = await loaded(referenceBackend(), open);
    for (const shape of shapes) {
      const [got, want] = [run(feed(shape)).z!, await reference(shape)];
      expect(excess(got.data, want.data, tolerance.absolute, tolerance.relative), `at ${shape}`).toBeLessThanOrEqual(0);
    }
  });

  test("on cpu", async () => {
    const backend = await cpuBackend();
    await expectOnce(backend, open, shapes);
    backend.dispose();
  });

  gpuTest("unless sizes are to be fixed: then they compile for each set of sizes, once", async ({ gpu }) => {
    const backend = webgpuBackend(gpu);
    const store = backend.createStore();
    for (const n of open.inputs.filter(isParameter)) await store.write(inputName(n), initialValue(n, 3));
    const executable = await backend.compile(open, { fixed: true });
    const after: number[] = [];
    for (const shape of [
      [2, 9],
      [2, 9],
      [1, 3],
      [2, 9],
    ] as const) {
      await executable.run(feed(shape), store);
      after.push(backend.pipelines());
    }
    expect(after[0]).toBeGreaterThan(0);
    expect(after[1]).toBe(after[0]);
    expect(after[2]).toBeGreaterThan(after[1]!);
    expect(after[3]).toBe(after[2]);
  });
});

describe("a declared range", () => {
  gpuTest("has all its memory from the start", async ({ gpu }) => {
    const made = vi.spyOn(gpu.device, "createBuffer");
    const kept = () => made.mock.calls.filter(([{ label }]) => !label!.startsWith("read-backs")).length;
    const run = await loaded(webgpuBackend(gpu), within({ max: 4 }, { max: 20 }));
    const before = kept();
    for (const shape of [
      [1, 1],
      [4, 20],
      [2, 5],
    ] as const)
      await run(shape);
    expect(kept()).toBe(before);
    made.mockRestore();
  });

  gpuTest("is right at its ends and between", async ({ gpu }) => {
    const ends: readonly Shape[] = [
      [1, 4],
      [4, 20],
      [2, 8],
    ];
    await expectOnce(webgpuBackend(gpu), within({ max: 4 }, { min: 4, max: 20, multipleOf: 4 }), ends);
  });

  gpuTest("of few rows is right with either kind of schedules", async ({ gpu }) => {
    const few: readonly Shape[] = [
      [1, 1],
      [1, 2],
      [1, 3],
    ];
    for (const device of [gpu, asHardware(gpu)])
      await expectOnce(webgpuBackend(device), within({ max: 1 }, { max: 3 }), few);
  });

  test("reserves what is fed and computed in its types, but not a store's tensors", () => {
    const [n, m] = [symbol("n", { max: 10 }), symbol("m")].map((size, i) => ({ name: `a${i}`, size }));
    const [x, kept, any] = [ops.input("x", "f32", [n!]), ops.state("kept", "f32", [n!]), ops.input("any", "f32", [m!])];
    const graph = makeGraph("g", [
      { name: "y", node: ops.add(x, kept) },
      { name: "z", node: ops.mul(any, 2) },
    ]);
    const { kernels } = compileKernels(graph);
    const reserved = kernels.flatMap(({ kernel, bindings }) =>
      bindings.map(({ root }, i) => [root.op === "input" ? inputName(root) : root.op, kernel.buffers[i]!.reserved]),
    );
    expect(Object.fromEntries(reserved)).toEqual({ x: 10, kept: undefined, add: 10, any: undefined, mul: undefined });
    for (const { kernel } of kernels) expect(printKernel(parseKernel(printKernel(kernel)))).toBe(printKernel(kernel));
  });

  gpuTest("refuses other sizes", async ({ gpu }) => {
    const run = await loaded(webgpuBackend(gpu), within({ max: 4 }, { max: 20 }));
    await expect(run([2, 21])).rejects.toThrow('the size "tokens" is 21, but it may be 1 to 20');
    await expect(run([5, 20])).rejects.toThrow('the size "batch" is 5, but it may be 1 to 4');
  });

  /** What the variants of each contraction assume; "" for what assumes nothing. */
  const assumed = (graph: Graph, software: boolean) => {
    const { kernels } = compileKernels(graph, { ...baselineFacts, software });
    const facts = kernels
      .filter((k) => k.kind === "contraction")
      .flatMap((k) => [...k.special, k].map((v) => v.assuming.map((a) => `${a.dim} <= ${a.max}`).join(" and ")));
    return [...new Set(facts)];
  };

  test.each([
    ["any size", {}, {}, ["batch*tokens <= 1", "batch*tokens <= 4", ""]],
    ["one row", { max: 1 }, { max: 1 }, [""]],
    ["never one row", { min: 2 }, {}, ["batch*tokens <= 4", ""]],
    ["never few rows", { min: 2 }, { min: 3 }, [""]],
    ["always few rows", { max: 1 }, { max: 3 }, ["batch*tokens <= 1", ""]],
  ])("has the variants that it can need: %s", (_, batch, tokens, want) => {
    expect(assumed(within(batch, tokens), true)).toEqual(want);
  });

  test("has a variant for one row before what subgroups share on CPU threads", () => {
    const facts = { ...baselineFacts, software: true, features: new Set(["subgroups"] as const) };
    const { kernels } = compileKernels(open, { ...facts, subgroupSizes: { min: 4, max: 4 } });
    for (const { special, schedule } of kernels.filter((k) => k.kind === "contraction"))
      expect([...special.map((v) => v.schedule), schedule]).toEqual(["one-row", "subgroup-tiles"]);
  });

  test("has a smaller tile for a side that turns out short, where the usual tile is larger", () => {
    const y = ops.contract(
      ops.input("x", "f32", [
        { name: "row", size: symbol("rows") },
        { name: "in", size: 64 },
      ]),
      ops.input("w", "f32", [
        { name: "in", size: 64 },
        { name: "out", size: 8192 },
      ]),
      ["in"],
    );
    const facts = { ...baselineFacts, maxWorkgroupStorage: 32 * 1024 };
    const { special, ...usual } = compileKernels(makeGraph("wide", [{ name: "y", node: y }]), facts).kernels[0]!;
    const tiles = [...special, usual].filter((v) => v.schedule === "shared-tiles");
    const sides = tiles.map(({ assuming, settings }) => [assuming[0]?.max, settings.rows]);
    expect(sides).toEqual([
      [32, 32],
      [undefined, 64],
    ]);
  });

  test("has no variant that an earlier one always goes before", () => {
    const any = `batch*tokens <= ${32 * baselineFacts.maxWorkgroupsPerDimension}`;
    expect(assumed(open, false)).toEqual(["batch*tokens <= 32", any, ""]);
    const { kernels } = compileKernels(open, baselineFacts);
    const schedules = kernels.find((k) => k.kind === "contraction")!.special.map((v) => v.schedule);
    expect(new Set(schedules)).toEqual(new Set(["shared-tiles"])); // tiles for few rows in registers are never reached
  });
});

gpuTest("runs that grow reach what the adapter binds, and no further", async ({ gpu }) => {
  const limits = { ...gpu.limits, maxStorageBufferBindingSize: 4096 };
  const backend = webgpuBackend(Object.assign(Object.create(gpu), { limits }));
  const x = ops.input("x", "f32", [{ name: "n", size: symbol("n") }]);
  const executable = await backend.compile(makeGraph("g", [{ name: "y", node: ops.neg(x) }]));
  const run = async (size: number) => {
    const fed = hostTensor(
      "f32",
      [{ name: "n", size }],
      Float32Array.from({ length: size }, (_, i) => i),
    );
    return (await executable.run({ x: fed }, backend.createStore())).y!.data;
  };
  for (const size of [600, 1000, 1024]) expect((await run(size)).at(-1)).toBe(1 - size); // memory grows by half
  await expect(run(1025)).rejects.toThrow(/4100 bytes of .* binds at most 4096/);
});

/**
 * Kernels declare what has a bound as long as it gets; a run's other tensors may be larger than it, and take its place.
 */
gpuTest("what has a bound keeps its room beside what has none", async ({ gpu }) => {
  const [rows, token] = [symbol("rows"), symbol("token", { max: 16 })];
  const [axis, embed] = [
    { name: "other", size: token },
    { name: "embed", size: 4 },
  ];
  const x = ops.input("x", "f32", [{ name: "rows", size: rows }, axis, embed]);
  const w = ops.input("w", "f32", [embed, { name: "out", size: 4 }]);
  const earlier = ops.le(ops.iota(axis), ops.iota({ name: "token", size: token }));
  const all = ops.contract(ops.contract(x, w, ["embed"]), ops.cast(earlier, "f32"), ["other"]);
  const graph = makeGraph("bounded", [{ name: "y", node: ops.tanh(all) }]);
  const of = (name: string, sizes: Readonly<Record<string, number>>) => {
    const axes = Object.entries(sizes).map(([n, size]) => ({ name: n, size }));
    const length = axes.reduce((n, a) => n * a.size, 1);
    return hostTensor(
      "f32",
      axes,
      Float32Array.from({ length }, (_, i) => Math.sin(name.length + 1.3 * i)),
    );
  };
  const feeds = { x: of("x", { rows: 9, other: 5, embed: 4 }), w: of("ww", { embed: 4, out: 4 }) };
  const run = async (backend: AnyBackend) => {
    const executable = await backend.compile(graph);
    return (await executable.run(feeds, backend.createStore())).y!.data;
  };
  const [got, want] = [await run(webgpuBackend(gpu)), await run(referenceBackend())];
  expect(excess(got, want, tolerance.absolute, tolerance.relative)).toBeLessThanOrEqual(0);
});
