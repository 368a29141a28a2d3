/**
 * Contractions on matrix units: interpreted for adapters that have them, and validated on a device that runs nothing.
 */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import {
  type AdapterFacts,
  baselineFacts,
  bindSizes,
  compileKernels,
  kernelIr,
  lowering,
  parseGraph,
  runProgram,
} from "../../compiler/index.ts";
import { validatingDevice } from "../support/adapter.ts";
import { inputValues } from "../support/random-graph.ts";
import { compileFor, interpretProgram } from "./support.ts";

const adapters = ["nvidia-h200", "amd-rdna3", "intel-xe2", "apple-m"] as const;
const factsOf = (name: (typeof adapters)[number]) => ({
  ...baselineFacts,
  ...kernelIr.recordedAdapters[name].facts,
});

/** Every order of operands in memory, edges on all sides, batches, and what is fused before and after. */
const products = (dtype: "f16" | "f32"): Readonly<Record<string, string>> => ({
  "x · w": `graph @g(%x: ${dtype}[m=70, k=48], %w: ${dtype}[k=48, n=72]) {
  %0 = contract %x, %w over [k] : ${dtype}[m=70, n=72]
  return %0
}`,
  "x · wᵀ with a bias, an activation and a residual": `graph @g(%x: ${dtype}[m=67, k=64], %w: ${dtype}[n=80, k=64], %b: ${dtype}[n=80], %r: ${dtype}[m=67, n=80]) {
  %0 = contract %x, %w over [k] : ${dtype}[m=67, n=80]
  %1 = add %0, %b : ${dtype}[m=67, n=80]
  %2 = relu %1 : ${dtype}[m=67, n=80]
  %3 = add %2, %r : ${dtype}[m=67, n=80]
  return %3
}`,
  "xᵀ · w, sizes that nothing divides": `graph @g(%x: ${dtype}[k=37, m=65], %w: ${dtype}[k=37, n=67]) {
  %0 = contract %x, %w over [k] : ${dtype}[m=65, n=67]
  return %0
}`,
  "batches, and axes that are split": `graph @g(%x: ${dtype}[b=3, m=33, h=2, k=20], %w: ${dtype}[b=3, n=66, h=2, k=20]) {
  %0 = contract %x, %w over [h, k] : ${dtype}[b=3, m=33, n=66]
  return %0
}`,
});

describe.each(adapters)("%s", (name) => {
  const facts = factsOf(name);
  const dtypes = name === "apple-m" ? (["f32", "f16"] as const) : (["f16"] as const);
  const cases = dtypes.flatMap((dtype) =>
    Object.entries(products(dtype)).map(([what, text]) => [dtype, what, text] as const),
  );
  it.each(cases)("%s: %s", async (_dtype, _what, text) => {
    const graph = parseGraph(text);
    // Small whole numbers: every product and sum is exact in f32, and results stay exact in f16.
    const values = new Map([...inputValues(graph, 5)].map(([k, v]) => [k, v.map((x) => Math.round(x))]));
    const program = compileFor(graph, facts);
    const taken = program.kernels.find((k) => k.kind === "contraction")!;
    expect(taken.schedule).toBe("subgroup-matrices");
    expect(kernelIr.checkFeasible(taken.kernel, facts)).toEqual([]);
    expect(kernelIr.parseKernel(kernelIr.printKernel(taken.kernel))).toBeDefined();
    const got = interpretProgram(program, values);
    for (const [output, want] of evaluate(graph, values)) expect(got.get(output)).toEqual([...want.data]);
    const device = await validatingDevice();
    const module = device.device.createShaderModule({ code: emitWgsl(taken.kernel) });
    const { messages } = await device.settle(module.getCompilationInfo());
    expect([...messages].map((m) => m.message)).toEqual([]);
  });
});

const schedule = lowering.scheduleTables.contraction.schedules.find((s) => s.name === "subgroup-matrices")!;
const settingsOf = (facts: AdapterFacts) => schedule.settings(facts) as readonly lowering.Settings[];

/** Kernels of a graph at one setting, whatever the schedule says of the graph's sizes. */
const compiledAt = (text: string, facts: AdapterFacts, settings: lowering.Settings) => {
  const forced = { ...schedule, settings: () => [settings], fits: () => true as const };
  return compileKernels(parseGraph(text), facts, { schedules: lowering.withSchedule("contraction", forced) });
};

/** Every order of operands, each with a side, a sum or both that eight do not divide, or that a slab does not. */
const orders = (dtype: "f16" | "f32"): readonly string[] =>
  [
    ["m=70, k=52", "k=52, n=75"],
    ["m=67, k=40", "n=80, k=40"],
    ["k=72, m=72", "k=72, n=40"],
  ].map(
    ([x, w]) => `graph @g(%x: ${dtype}[${x}], %w: ${dtype}[${w}]) {
  %0 = contract %x, %w over [k]
  %1 = cast %0 to f32
  return %1
}`,
  );

/** Numbers at the ends of what halves hold, of both signs: their products and sums are beyond halves, and cancel. */
const ends = [65504, -65504, 2 ** -24, -(2 ** -14), 1, -2048, 0];

/**
 * Places of fragments in shared memory that Dawn does not prove in bounds, so that their strides would be known at run
 * time only. It follows sums, products with constants, quotients and remainders by constants of 0 and above, counters
 * that begin at 0 and grow by one, and the subgroup's index, which the text bounds; its own output said so (decision
 * 15).
 */
function unprovable(kernel: kernelIr.Kernel): string[] {
  const lets = new Map<string, kernelIr.Expr>();
  const counters = new Set<string>();
  for (const s of kernelIr.statements(kernel.body)) {
    if (s.kind === "let") lets.set(s.target.name, s.value);
    if (s.kind === "for" && s.step === 1 && s.from.kind === "const" && s.from.value === 0) counters.add(s.index.name);
  }
  const provable = (e: kernelIr.Expr): boolean => {
    if (e.kind === "const") return true;
    if (e.kind === "var") {
      const value = lets.get(e.name);
      return value ? provable(value) : e.name === "subgroup_id" || counters.has(e.name);
    }
    if (e.kind !== "arith" || kernelIr.rangeOf(e).min < 0) return false;
    if (e.op === "add") return provable(e.a) && provable(e.b);
    if (e.op === "mul" || e.op === "div") return provable(e.a) && e.b.kind === "const";
    return e.op === "mod" && e.b.kind === "const"; // whatever is divided
  };
  return [...kernelIr.statements(kernel.body)].flatMap((s) => {
    const place = s.kind === "fragment_load" ? s.from : s.kind === "fragment_store" ? s.to : undefined;
    if (!place || (provable(place.offset) && place.stride.kind === "const")) return [];
    return [`${place.array}[${kernelIr.printExpr(place.offset)}]`];
  });
}

describe.each(adapters)("every setting for %s", (name) => {
  const facts = factsOf(name);
  const all = settingsOf(facts);
  it.each(all.map((s, i) => [lowering.printChoice("tile", s), s, i] as const))("%s", async (_, settings, i) => {
    const text = orders(settings.bytes === 2 || i % 2 === 0 ? "f16" : "f32")[i % 3]!;
    const graph = parseGraph(text);
    const values = new Map(
      [...inputValues(graph, i)].map(([k, v], at) => [
        k,
        v.map((_, j) => ends[(5 * j + (j >> 3) + 3 * at) % ends.length]!),
      ]),
    );
    const program = compiledAt(text, facts, settings);
    const { kernel } = program.kernels[0]!;
    expect(kernelIr.checkFeasible(kernel, facts)).toEqual([]);
    expect(unprovable(kernel)).toEqual([]);
    const got = interpretProgram(program, values).get("y")!;
    const want = evaluate(graph, values).get("y")!.data;
    const sizes = evaluate(graph, new Map([...values].map(([k, v]) => [k, v.map(Math.abs)]))).get("y")!.data;
    const off = got.filter((v, j) => !(Math.abs(v - want[j]!) <= 2 ** -20 * sizes[j]!));
    expect(off).toEqual([]);
    const device = await validatingDevice();
    const module = device.device.createShaderModule({ code: emitWgsl(kernel) });
    const { messages } = await device.settle(module.getCompilationInfo());
    expect([...messages].map((m) => m.message)).toEqual([]);
  });
});

it("groups rows of tiles, the last group with fewer", () => {
  const facts = factsOf("nvidia-h200");
  const text = `graph @g(%x: f16[b=2, m=300, k=16], %w: f16[b=2, n=70, k=16]) {
  %0 = contract %x, %w over [k]
  return %0
}`;
  const small = settingsOf(facts).find((s) => s.rows === 64 && s.columns === 64)!;
  const program = compiledAt(text, facts, { ...small, group: 2 });
  const graph = parseGraph(text);
  const values = new Map([...inputValues(graph, 5)].map(([k, v]) => [k, v.map((x) => Math.round(x))]));
  const { grid } = program.kernels[0]!.kernel;
  expect(grid.map((g) => kernelIr.evaluateIndex(g))).toEqual([2, 2, 6]);
  expect(interpretProgram(program, values).get("y")).toEqual([...evaluate(graph, values).get("y")!.data]);
});

it("sums of parts are stored as f32: what is beyond halves in each cancels in the whole", () => {
  const graph =
    parseGraph(`graph @gradient(%x: f16[picture=16, token=131, in=36], %dy: f16[picture=16, token=131, out=40]) {
  %0 = contract %dy, %x over [picture, token]
  %1 = cast %0 to f32
  return %1
}`);
  const facts = factsOf("nvidia-h200");
  const program = compileFor(graph, facts);
  expect(program.kernels.map((k) => k.schedule)).toEqual(["subgroup-matrices", "columns"]);
  expect(program.kernels[0]!.kernel.grid.map((g) => kernelIr.evaluateIndex(g))).toEqual([1, 1, 4]);
  const size = { x: 131 * 36, dy: 131 * 40 };
  const values = new Map(
    (["x", "dy"] as const).map((name) => {
      const sign = (i: number) => (name === "x" && i >= 8 * size.x ? -1 : 1);
      return [name, Float64Array.from({ length: 16 * size[name] }, (_, i) => sign(i) * (20 + (i % 3)))];
    }),
  );
  // Whole numbers below 2^24 in all sums: exact in f32, however they are added.
  expect(interpretProgram(program, values).get("y")).toEqual([...evaluate(graph, values).get("y")!.data]);
});

describe("rows that are open until a run", () => {
  const facts = factsOf("nvidia-h200");
  const text = `graph @g(%x: f16[row=rows, in=40], %w: f16[out=72, in=40]) {
  %0 = contract %x, %w over [in]
  return %0
}`;
  const open = parseGraph(text);
  const ran = (program: ReturnType<typeof compileFor>, rows: number) => {
    const values = new Map(
      [...inputValues(bindSizes(open, { rows }), 5)].map(([k, v]) => [k, v.map((x) => Math.round(x))]),
    );
    const want = [...evaluate(bindSizes(open, { rows }), values).get("y")!.data];
    return { got: [...runProgram(program, values, { rows }).outputs.get("y")!], want };
  };

  it("have a small tile for when they turn out few, before the one for any number", () => {
    const program = compileFor(open, facts);
    const [kernel] = program.kernels;
    const matrices = kernel!.special.filter((v) => v.schedule === "subgroup-matrices");
    expect(matrices.map(({ assuming, settings }) => [assuming[0]!.max, settings.rows])).toEqual([
      [2048, 64],
      [64 * 65535, 128],
    ]);
    const { got, want } = ran(program, 70);
    expect(got).toEqual(want);
  });

  it("are computed by the tile for any number, with slabs in registers, in memory, or neither ahead", () => {
    for (const prefetch of [0, 1, 2]) {
      const settings = settingsOf(facts).find((s) => s.rows === 128 && s.prefetch === prefetch)!;
      const { got, want } = ran(compiledAt(text, facts, settings), 131);
      expect(got).toEqual(want);
    }
  });
});

/** What is chosen for a product of halves on an H200. */
function chosen(m: number, n: number, k: number) {
  const text = `graph @g(%x: f16[m=${m}, k=${k}], %w: f16[n=${n}, k=${k}]) {
  %0 = contract %x, %w over [k]
  return %0
}`;
  const { schedule: name, settings } = compileFor(parseGraph(text), factsOf("nvidia-h200")).kernels[0]!;
  const { rows, columns, n: across, prefetch, group } = settings;
  return `${name} ${rows}x${columns} n=${across} prefetch=${prefetch} group=${group}`;
}

it.each([
  [8192, 8192, 8192, "128x128 n=16 prefetch=0 group=8"],
  [4096, 4096, 4096, "128x128 n=16 prefetch=0 group=0"],
  [257, 9600, 3200, "128x128 n=16 prefetch=0 group=0"],
  [257, 3200, 3200, "64x64 n=16 prefetch=1 group=0"],
])("takes what was measured to be fast for %i by %i by %i", (m, n, k, tile) =>
  expect(chosen(m, n, k)).toBe(`subgroup-matrices ${tile}`),
);

it("is not taken where the adapter sums in halves only", () => {
  const { facts } = kernelIr.recordedAdapters["intel-xe2"];
  const halves = { ...baselineFacts, ...facts, matrices: facts.matrices.filter((s) => s.result === "f16") };
  const program = compileFor(parseGraph(products("f16")["x · w"]!), halves);
  expect(program.kernels[0]!.refused.map((r) => `${r.schedule}: ${r.reason}`)).toContain(
    "subgroup-matrices: the adapter has no matrix shape that accumulates f16 or f32 in f32",
  );
});
