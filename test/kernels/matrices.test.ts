/** Contractions on matrix units: interpreted for adapters that have them, and validated on a device that runs nothing. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import { baselineFacts, kernelIr, parseGraph } from "../../compiler/index.ts";
import { validatingDevice } from "../support/adapter.ts";
import { inputValues } from "../support/random-graph.ts";
import { compileFor, interpretProgram } from "./support.ts";

const adapters = ["nvidia-h200", "amd-rdna3", "apple-m"] as const;
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
  const dtype = name === "apple-m" ? "f32" : "f16";
  it.each(Object.entries(products(dtype)))("%s", async (_, text) => {
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

it("is not taken where the adapter sums in halves only", () => {
  const facts = { ...baselineFacts, ...kernelIr.recordedAdapters["intel-xe2"].facts };
  const program = compileFor(parseGraph(products("f16")["x · w"]!), facts);
  expect(program.kernels[0]!.refused.map((r) => `${r.schedule}: ${r.reason}`)).toContain(
    "subgroup-matrices: no matrices of the adapter are summed in f32",
  );
});
