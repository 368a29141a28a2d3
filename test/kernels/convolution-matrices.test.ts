/**
 * Convolutions on matrix units, with both gradients: interpreted for adapters that have them. None has run on hardware.
 */
import { describe, expect, it } from "vitest";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import { baselineFacts, kernelIr } from "../../compiler/index.ts";
import { validatingDevice } from "../support/adapter.ts";
import { type ConvolutionCase, convolutionByLoops, convolutionGraph } from "../support/convolution.ts";
import { inputValues } from "../support/random-graph.ts";
import { compileFor, interpretProgram } from "./support.ts";

const base = { batch: 2, rows: 9, columns: 8, from: 40, to: 48, dtype: "f16" } as const;
const cases: Readonly<Record<string, ConvolutionCase>> = {
  "1 x 1": { ...base, kernel: [1, 1] },
  "3 x 3, same": { ...base, kernel: [3, 3], padding: [1, 1, 1, 1] },
  "3 x 3, stride 2": { ...base, batch: 3, rows: 13, columns: 11, kernel: [3, 3], stride: 2, padding: [1, 1, 1, 1] },
  "3 x 3, dilated, more zeros before than after": {
    ...base,
    batch: 1,
    kernel: [3, 3],
    dilation: 2,
    padding: [3, 1, 2, 2],
  },
  "3 x 3, two groups, channels that nothing divides": {
    ...base,
    batch: 1,
    from: 37,
    to: 45,
    groups: 2,
    kernel: [3, 3],
    padding: [1, 1, 1, 1],
  },
  "5 x 5, three channels, a stem": {
    ...base,
    rows: 15,
    columns: 17,
    from: 3,
    kernel: [5, 5],
    stride: 2,
    padding: [2, 2, 2, 2],
    results: ["y", "dw"],
  },
  "weights as PyTorch has them, channels first": {
    ...base,
    batch: 1,
    layout: "channels-first",
    weights: "from-kernel",
    kernel: [3, 3],
    padding: [1, 1, 1, 1],
  },
};

describe.each(["nvidia-h200", "amd-rdna3"] as const)("%s", (adapter) => {
  const facts = { ...baselineFacts, ...kernelIr.recordedAdapters[adapter].facts };
  it.each(Object.entries(cases))("%s", async (_, c) => {
    const graph = convolutionGraph(c);
    // Whole numbers that are mostly 0: sums stay exact in f16.
    const values = new Map([...inputValues(graph, 5)].map(([k, v]) => [k, v.map((x) => Math.trunc(0.9 * x))]));
    const want = convolutionByLoops(c, graph, values);
    const program = compileFor(graph, facts);
    const products = program.kernels.filter((k) => k.kind === "contraction");
    expect(products.map((k) => k.schedule)).toContain("subgroup-matrices");
    const got = interpretProgram(program, values);
    for (const [name, data] of got) expect([name, data]).toEqual([name, [...want[name as "y"]].map((v) => v + 0)]);
    const device = await validatingDevice();
    for (const { kernel } of products) {
      expect(kernelIr.checkFeasible(kernel, facts)).toEqual([]);
      const module = device.device.createShaderModule({ code: emitWgsl(kernel) });
      const { messages } = await device.settle(module.getCompilationInfo());
      expect([...messages].map((m) => m.message)).toEqual([]);
    }
  });
});
