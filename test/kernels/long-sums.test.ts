/** Long sums of products that share all axes but few: the weights' gradient of a depthwise convolution, in parts. */
import { describe, expect, it } from "vitest";
import { compileKernels, parseGraph } from "../../compiler/index.ts";
import { type ConvolutionCase, convolutionByLoops, convolutionGraph } from "../support/convolution.ts";
import { inputValues } from "../support/random-graph.ts";
import { adapters, compileFor, interpretProgram } from "./support.ts";

const base = { rows: 32, columns: 33, from: 1, to: 1, groups: 2, kernel: [1, 3], results: ["dw"] } as const;
const cases: Readonly<Record<string, ConvolutionCase>> = {
  "an axis is split": { ...base, batch: 9 },
  "one axis after the others": { ...base, batch: 8, columns: 34 },
  halves: { ...base, batch: 9, dtype: "f16" },
};

describe.each(Object.keys(adapters))("on a %s adapter", (adapter) => {
  it.each(Object.entries(cases))("%s", (_, c) => {
    const graph = convolutionGraph(c);
    // Whole numbers: sums of both parts and whole are exact, in f16 too.
    const values = new Map([...inputValues(graph, 5)].map(([k, v]) => [k, v.map((x) => Math.trunc(0.8 * x))]));
    const program = compileFor(graph, adapters[adapter]!);
    expect(program.kernels.length).toBeGreaterThan(1);
    const want = convolutionByLoops(c, graph, values);
    expect(interpretProgram(program, values).get("dw")).toEqual([...want.dw].map((v) => v + 0));
  });
});

describe("how long a sum is", () => {
  const texts = (graph: string) =>
    compileKernels(parseGraph(graph), adapters.gpu!, { check: "all" }).kernels.map((k) => k.kernel.name);

  it("is not known of an open batch: a short sum beside it stays whole, in any order of axes", () => {
    const sum = (over: string) =>
      texts(`graph @g(%x: f32[column=2, batch=rows, row=3], %w: f32[column=2, batch=rows, row=3]) {
  %0 = contract %x, %w over [${over}]
  return %0
}`);
    expect(sum("column, batch, row")).toHaveLength(1);
    expect(sum("batch, row, column")).toHaveLength(1);
  });

  it("is long beside an open batch where the rest is", () => {
    const sum = `graph @g(%x: f32[batch=rows, place=16384]) {
  %0 = reduce_sum %x over [place, batch]
  return %0
}`;
    expect(texts(sum)).toHaveLength(2);
  });

  it("is split along another axis too, where the longest has few divisors", () => {
    const sum = `graph @g(%x: f32[a=20014, b=4, c=5003]) {
  %0 = reduce_sum %x over [a, b, c]
  return %0
}`;
    expect(texts(sum).length).toBeGreaterThan(1);
  });
});
