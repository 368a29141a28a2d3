/** The tuner on a device: what it times, what it refuses, and that wrong numbers never win. */
import { describe, expect } from "vitest";
import { factsOf, mergedFindings, type TunedKernel, tuneKernels } from "../../backends/webgpu/index.ts";
import { Comparison } from "../../backends/webgpu/tune/compare.ts";
import { scoped } from "../../backends/webgpu/tune/error-scope.ts";
import { compileKernels, type Findings, foundKernels, kernelIr, lowering, parseGraph } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { asHardware } from "../webgpu/support.ts";

const graph = parseGraph(`graph @rows(%x: f32[row=rows, column=131], %w: f32[column=131]) {
  %0 = softmax %x axis column
  %1 = layer_norm %x, %w, %w over [column] epsilon 0.00001
  return %0 as p, %1 as n
}`);
const sizes = { rows: 37 };
const budget = 60_000;

type Rows = lowering.Schedule<lowering.RowProblem>;
const perThread = lowering.scheduleTables.row_reduction.schedules.find((s) => s.name === "row-per-thread") as Rows;

/** A schedule beside the product's, which makes of the kernel of `row-per-thread` what `change` says. */
const beside = (name: string, change: (code: lowering.KernelCode) => lowering.KernelCode): Rows => ({
  ...perThread,
  name,
  lower: (problem, settings) => change(perThread.lower(problem, settings)),
});
/** The tables with a schedule tried after those of the product, so that it is taken only when it wins. */
const withLast = (schedule: Rows): lowering.ScheduleTables => ({
  ...lowering.scheduleTables,
  row_reduction: {
    ...lowering.scheduleTables.row_reduction,
    schedules: [...lowering.scheduleTables.row_reduction.schedules, schedule],
  },
});

const tuned = (results: Awaited<ReturnType<typeof tuneKernels>>): TunedKernel[] =>
  results.map((r) => {
    if ("failure" in r) throw new Error(r.failure);
    return r;
  });

/** Stores zeros, which is faster than computing anything. */
const zeros = (statements: readonly kernelIr.Stmt[]): kernelIr.Stmt[] =>
  statements.map((s) => {
    if (s.kind === "for" || s.kind === "if") return { ...s, body: zeros(s.body) };
    return s.kind === "store" ? { ...s, value: kernelIr.float(0) } : s;
  });

describe("tuneKernels", () => {
  gpuTest("times every way that fits, and finds what is faster than the table's", async ({ gpu }) => {
    const device = asHardware(gpu); // prefers workgroups with barriers, which are slow on threads of a processor
    const results = tuned(await tuneKernels(device, graph, { sizes, budget }));
    expect(results.length).toBeGreaterThan(0);
    for (const r of results) {
      expect(r.kind).toBe("row_reduction");
      const ways = new Set(r.timed.map((t) => t.schedule));
      for (const way of ["row-per-thread", "row-per-workgroup", r.before.schedule]) expect(ways).toContain(way);
      expect(r.skipped).toEqual([]);
      expect(r.timed.every((t) => t.nanoseconds > 0)).toBe(true);
      // The finding is what was faster, and nothing where the table is right.
      const wayOf = ({ schedule, settings }: typeof r.before) => lowering.printChoice(schedule, settings);
      expect(r.finding && lowering.printChoice(r.finding.schedule, r.finding.settings)).toBe(
        wayOf(r.after) === wayOf(r.before) ? undefined : wayOf(r.after),
      );
    }
    const findings = mergedFindings(new Map(), results, sizes);
    const program = compileKernels(graph, factsOf(device), { findings });
    const found = results.filter((r) => r.finding).reduce((n, r) => n + r.count, 0);
    expect(foundKernels(program)).toBe(found);
  });

  gpuTest("refuses a way that is fast and wrong", async ({ gpu }) => {
    const wrong = beside("wrong", (code) => ({ ...code, body: zeros(code.body) }));
    const results = tuned(await tuneKernels(gpu, graph, { sizes, budget, schedules: withLast(wrong) }));
    for (const r of results) {
      expect(r.timed.map((t) => t.schedule)).not.toContain("wrong");
      expect(r.skipped.map((s) => s.schedule)).toEqual(["wrong"]);
      expect(r.skipped[0]!.reason).toMatch(/^its results differ by \S+ of the largest value$/);
    }
  });

  gpuTest("refuses a way that leaves the last rows out", async ({ gpu }) => {
    const short = beside("short", (code) => ({ ...code, grid: [kernelIr.int(1), kernelIr.int(1), kernelIr.int(1)] }));
    const results = tuned(await tuneKernels(gpu, graph, { sizes, budget, schedules: withLast(short) }));
    for (const r of results) expect(r.skipped.map((s) => s.schedule)).toEqual(["short"]);
  });

  gpuTest("goes on where a way cannot be lowered, or is refused by the device", async ({ gpu }) => {
    const broken = beside("broken", () => {
      throw new TypeError("no kernel today");
    });
    const huge = beside("huge", (code) => ({
      ...code,
      arrays: [...(code.arrays ?? []), { name: "all", dtype: "f32", length: 2 ** 20, space: "workgroup" }],
    }));
    for (const [schedule, reason] of [
      [broken, /no kernel today/],
      [huge, /workgroup/i],
    ] as const) {
      const results = tuned(await tuneKernels(gpu, graph, { sizes, budget, schedules: withLast(schedule) }));
      for (const r of results) expect(r.skipped[0]).toMatchObject({ schedule: schedule.name });
      for (const r of results) expect(r.skipped[0]!.reason).toMatch(reason);
    }
    gpu.check(); // and the device is as good as before
  });

  gpuTest("leaves out what the budget has no time for, and says so", async ({ gpu }) => {
    const results = tuned(await tuneKernels(asHardware(gpu), graph, { sizes, budget: 0 }));
    for (const r of results) {
      expect(r.timed).toHaveLength(1);
      expect(new Set(r.skipped.map((s) => s.reason))).toEqual(new Set(["the budget was used up"]));
      expect(r.finding).toBeUndefined();
    }
  });

  gpuTest("times kernels of fixed sizes, of updated states and of whole numbers", async ({ gpu }) => {
    const step = parseGraph(
      `graph @step(%table: f32[class=40, column=9], %index: i32[row=21], state %s: f32[row=21]) {
  %0 = gather %table, %index axis class
  %1 = reduce_sum %0 over [column]
  %2 = add %s, %1
  return %2 as sum updates s
}`,
    );
    const results = tuned(await tuneKernels(gpu, step, { budget }));
    expect(results.length).toBeGreaterThan(0);
    for (const r of results) expect(r.mark).toBe(r.fixedMark);
  });
});

describe("mergedFindings", () => {
  gpuTest("replaces what is known of the same sizes, and forgets what turned out no better", async ({ gpu }) => {
    const [first] = tuned(await tuneKernels(gpu, graph, { sizes, budget: 0 }));
    const finding = { schedule: "row-per-thread", settings: { threads: 1 }, sizes };
    const known: Findings = new Map([
      [first!.mark, [{ ...finding, sizes: { rows: 2 } }, finding]],
      ["other", [finding]],
    ]);
    const better = { ...finding, settings: { threads: 2 } };
    const merged = mergedFindings(known, [{ ...first!, finding: better }], sizes);
    expect(merged.get(first!.mark)).toEqual([{ ...finding, sizes: { rows: 2 } }, better]);
    expect(merged.get(first!.fixedMark!)).toEqual([{ ...better, sizes: {} }]);
    const none = mergedFindings(merged, [{ ...first!, finding: undefined }], sizes);
    expect(none.get(first!.mark)).toEqual([{ ...finding, sizes: { rows: 2 } }]);
    expect(none.has(first!.fixedMark!)).toBe(false);
    expect(none.get("other")).toEqual([finding]);
    const failed = { mark: first!.mark, name: "k", count: 1, failure: "no" };
    expect(mergedFindings(merged, [failed], sizes)).toEqual(merged);
  });
});

describe("the comparison", () => {
  const buffersOf = (gpu: Parameters<typeof factsOf>[0], ...arrays: readonly ArrayBufferView<ArrayBuffer>[]) =>
    arrays.map((a) => {
      const size = Math.ceil(a.byteLength / 16) * 16;
      const buffer = gpu.device.createBuffer({ size, usage: 0x80 | 0x4 | 0x8 });
      gpu.device.queue.writeBuffer(buffer, 0, a.buffer, 0, a.byteLength);
      return buffer;
    }) as [GPUBuffer, GPUBuffer];
  const f32 = (...v: number[]) => Float32Array.from(v);
  const f16 = (...v: number[]) => new Float16Array(v);
  const i32 = (...v: number[]) => Int32Array.from(v);

  gpuTest.for([
    ["equal floats", "f32", f32(1, -2, 3, 0), f32(1, -2, 3, 0), 0],
    ["zeros", "f32", f32(0, 0, 0, 0), f32(0, -0, 0, 0), 0],
    ["a quarter of the largest", "f32", f32(1, -3, 4, 0), f32(1, -2, 4, 0), 0.25],
    ["something where nothing is", "f32", f32(0, 0, 0, 1), f32(0, 0, 0, 0), Number.POSITIVE_INFINITY],
    ["NaN on both sides", "f32", f32(Number.NaN, 1, 0, 0), f32(Number.NaN, 1, 0, 0), 0],
    ["NaN on one side", "f32", f32(Number.NaN, 1, 0, 0), f32(1, 1, 0, 0), Number.POSITIVE_INFINITY],
    ["another infinity", "f32", f32(Infinity, 1, 0, 0), f32(-Infinity, 1, 0, 0), Number.POSITIVE_INFINITY],
    ["halves, the second of a word", "f16", f16(1, 2, 4, 3, 0, 0, 0, 0), f16(1, 2, 4, 4, 0, 0, 0, 0), 0.25],
    ["a half that is NaN", "f16", f16(1, Number.NaN, 4, 4), f16(1, 2, 4, 4), Number.POSITIVE_INFINITY],
    ["equal whole numbers", "i32", i32(7, -1, 0, 2), i32(7, -1, 0, 2), 0],
    ["other whole numbers", "i32", i32(7, -1, 0, 2), i32(7, -1, 1, 2), Number.POSITIVE_INFINITY],
  ] as const)("tells %s", async ([, dtype, got, want, expected], { gpu }) => {
    const [a, b] = buffersOf(gpu, got, want);
    expect(await new Comparison(gpu).difference(a, b, dtype)).toBeCloseTo(expected, 6);
  });

  gpuTest("sees every element of a long buffer", async ({ gpu }) => {
    const n = 2 ** 17 + 4;
    const want = new Float32Array(n).fill(1);
    for (const at of [0, 63, 2 ** 14, n - 1]) {
      const [a, b] = buffersOf(gpu, want.with(at, 2), want);
      expect(await new Comparison(gpu).difference(a, b, "f32")).toBe(1);
    }
  });
});

describe("what a device refuses", () => {
  gpuTest("is the outcome of what asked for it, and no failure of the device", async ({ gpu }) => {
    const ask = () =>
      scoped(gpu, async () => gpu.device.createBuffer({ size: 16, usage: 0x1 | 0x80 /* both mapped and storage */ }));
    await expect(ask()).rejects.toThrow(/usage/i);
    gpu.check();
  });
});
