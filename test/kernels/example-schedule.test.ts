/**
 * The worked example of docs/adding-a-schedule.md: one file and one row, of a schedule that the machine need not have.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { emitWgsl, factsOf, webgpuBackend } from "../../backends/webgpu/index.ts";
import {
  type AdapterFacts,
  baselineFacts,
  bindSizes,
  compileKernels,
  type Graph,
  hostTensor,
  kernelIr,
  lowering,
  parseGraph,
  parseKernel,
  printKernel,
  runProgram,
} from "../../compiler/index.ts";
import { rowPerSubgroup } from "../../examples/schedules/row-per-subgroup.ts";
import { gpuTest, validatingDevice } from "../support/adapter.ts";
import { excess } from "../support/samples.ts";
import { asHardware } from "../webgpu/support.ts";

const schedules = lowering.withSchedule("row_reduction", rowPerSubgroup);

/** An adapter whose subgroups all have so many lanes. */
const withLanes = (lanes: number): AdapterFacts => ({
  ...baselineFacts,
  features: new Set(["subgroups"]),
  subgroupSizes: { min: lanes, max: lanes },
});

const columns = 131;
/**
 * Reductions of one accumulator and of several, one after another, stored by row and by element; a row that is open.
 */
const graph = parseGraph(`graph @rows(%x: f32[row=rows, column=${columns}], %w: f32[column=${columns}]) {
  %0 = softmax %x axis column
  %1 = layer_norm %x, %w, %w over [column] epsilon 0.00001
  %2 = argmax %x axis column
  %3 = logsumexp %1 axis column
  return %0 as weights, %1 as normed, %2 as best, %3 as total
}`);

function mistakes(program: ReturnType<typeof compileKernels>, rows: number): string[] {
  const x = Float64Array.from({ length: rows * columns }, (_, i) => Math.fround(Math.sin(i * 7.3) * 3));
  const w = Float64Array.from({ length: columns }, (_, i) => Math.fround(1 + Math.cos(i)));
  const given = new Map([
    ["x", x],
    ["w", w],
  ]);
  const { outputs } = runProgram(program, given, { rows });
  return [...evaluate(bindSizes(graph, { rows }), given)].flatMap(([name, want]) => {
    const over = excess(outputs.get(name)!, want.data, 1e-5, 1e-5);
    return over > 0 ? [`${name} is off by ${over} more than is granted`] : [];
  });
}

it.each([8, 16, 32, 64])("computes in the interpreter what it should, in subgroups of %i lanes", (lanes) => {
  const program = compileKernels(graph, withLanes(lanes), { schedules });
  for (const k of program.kernels) {
    expect(k.schedule).toBe("row-per-subgroup");
    expect(kernelIr.requiredFeatures(k.kernel)).toEqual(["subgroups", "subgroup_size"]);
    expect(kernelIr.verifyKernel(k.kernel)).toBe(k.kernel);
    expect(kernelIr.checkFeasible(k.kernel, withLanes(lanes))).toEqual([]);
    expect(kernelIr.checkFeasible(k.kernel, withLanes(lanes / 2))).not.toEqual([]);
    const text = printKernel(k.kernel);
    expect(printKernel(parseKernel(text))).toBe(text);
    expect(text).not.toContain("barrier");
  }
  for (const rows of [1, 2, 5, 67]) expect(mistakes(program, rows)).toEqual([]);
});

describe("where it does not fit", () => {
  const reasonOn = (facts: AdapterFacts, g: Graph = graph) => {
    const [kernel] = compileKernels(g, facts, { schedules }).kernels;
    expect(kernel!.schedule).not.toBe("row-per-subgroup");
    return kernel!.refused.find((r) => r.schedule === "row-per-subgroup")!.reason;
  };

  it("says why, and the next schedule of the table is taken", () => {
    expect(reasonOn(baselineFacts)).toBe("the adapter lacks subgroups");
    expect(reasonOn({ ...withLanes(8), software: true })).toBe(lowering.noSharing);
    expect(reasonOn({ ...withLanes(16), subgroupSizes: { min: 16, max: 32 } })).toBe(
      "the subgroup size varies from 16 to 32, and kernels cannot set it on this adapter",
    );
    const narrow = parseGraph(
      "graph @g(%x: f32[row=9, column=7]) {\n  %0 = reduce_sum %x over [column]\n  return %0\n}",
    );
    expect(reasonOn(withLanes(8), narrow)).toBe("a row has 7 elements, fewer than the 8 lanes of a subgroup");
  });

  it("chooses how many lanes where a kernel may", () => {
    const { facts } = kernelIr.recordedAdapters["amd-rdna3"];
    const [kernel] = compileKernels(graph, { ...baselineFacts, ...facts }, { schedules }).kernels;
    expect(kernel).toMatchObject({ schedule: "row-per-subgroup", settings: { lanes: 64, threads: 64 } });
    expect(emitWgsl(kernel!.kernel)).toContain("@subgroup_size(64)");
  });

  it("is no schedule of the product", () => {
    const taken = compileKernels(graph, withLanes(32)).kernels.map((k) => k.schedule);
    expect(taken).not.toContain("row-per-subgroup");
  });
});

it("Dawn takes its WGSL", async () => {
  const gpu = await validatingDevice();
  const { device } = gpu;
  for (const lanes of [8, 16, 32, 64])
    for (const { kernel } of compileKernels(graph, withLanes(lanes), { schedules }).kernels) {
      device.pushErrorScope("validation");
      const module = device.createShaderModule({ code: emitWgsl(kernel, withLanes(lanes)) });
      device.createComputePipeline({ layout: "auto", compute: { module } });
      expect((await gpu.settle(device.popErrorScope()))?.message).toBeUndefined();
    }
});

gpuTest("runs on a device that is given it, at its subgroup size", async ({ gpu, skip }) => {
  const hardware = asHardware(gpu);
  const { min, max } = hardware.adapter.subgroupSize;
  if (min !== max && !factsOf(hardware).features.has("subgroup_size")) skip("its subgroups have no fixed size");
  const backend = webgpuBackend(hardware, { schedules });
  const executable = await backend.compile(graph);
  const program = executable.program();
  expect(program.kernels.map((k) => k.schedule)).toContain("row-per-subgroup");
  const data = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * 7.3) * 3);
  const given = { x: data(5 * columns), w: data(columns) };
  const feeds = {
    x: hostTensor(
      "f32",
      [
        { name: "row", size: 5 },
        { name: "column", size: columns },
      ],
      given.x,
    ),
    w: hostTensor("f32", [{ name: "column", size: columns }], given.w),
  };
  const got = await executable.run(feeds, backend.createStore());
  const values = new Map(Object.entries(given).map(([name, v]) => [name, Float64Array.from(v)]));
  for (const [name, want] of evaluate(bindSizes(graph, { rows: 5 }), values))
    expect(excess(got[name]!.data, want.data, 1e-4, 1e-4)).toBeLessThanOrEqual(0);
  executable.dispose();
});

describe("docs/adding-a-schedule.md", () => {
  const document = readFileSync("docs/adding-a-schedule.md", "utf8");

  it("shows the schedule as it is", () => {
    expect(document).toContain(readFileSync("examples/schedules/row-per-subgroup.ts", "utf8").trim());
    expect(document).toContain('withSchedule("row_reduction", rowPerSubgroup)');
  });

  it("shows a kernel that it makes", () => {
    const sum = parseGraph(
      "graph @g(%x: f32[row=9, column=131]) {\n  %0 = reduce_sum %x over [column]\n  return %0\n}",
    );
    const [kernel] = compileKernels(sum, withLanes(8), { schedules }).kernels;
    expect(document).toContain(`\`\`\`kernel\n${printKernel(kernel!.kernel)}\`\`\`\n`);
  });

  it("lists the kinds of kernels and every field of a schedule", () => {
    for (const kind of Object.keys(lowering.scheduleTables)) expect(document).toContain(`| \`${kind}\` |`);
    for (const field of Object.keys(rowPerSubgroup)) expect(document).toMatch(new RegExp(`^\\| .*\`${field}\``, "m"));
  });
});
