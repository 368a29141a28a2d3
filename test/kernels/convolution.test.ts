/**
 * Convolutions with both gradients: the graphs mean what plain loops do, and the kernels of every family of adapters
 * compute it, without writing anything of the size of the windows.
 */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { type DType, dtypeBytes, type Graph, kernelIr, type Program, runProgram } from "../../compiler/index.ts";
import {
  type ConvolutionCase,
  convolutionByLoops,
  convolutionCases,
  convolutionGraph,
  openSides,
} from "../support/convolution.ts";
import { inputValues } from "../support/random-graph.ts";
import { adapters, compileFor, interpretProgram } from "./support.ts";

/** Bytes that kernels write beyond the results: what an unfolded map would be. */
function unfolded({ kernels, graph }: Program): number {
  const written = kernels.reduce((n, k) => n + Number(k.bytesWritten), 0);
  const results = graph.outputs.map(({ node }) =>
    node.type.axes.reduce((n, a) => n * (a.size as number), dtypeBytes[node.type.dtype] as number),
  );
  return written - results.reduce((n, b) => n + b, 0);
}

/** Bytes of a map whose sides are whole strides. */
function placesOfStrides({ rows, columns, from, groups = 1, stride = 1 }: ConvolutionCase): number {
  const [down, across] = [rows, columns].map((n) => Math.ceil(n / stride) * stride) as [number, number];
  return 2 * 4 * down * across * from * groups;
}

/** Small whole numbers: every product and sum is exact in f32, and most results in f16. */
const wholeValues = (graph: Graph, seed: number) =>
  new Map([...inputValues(graph, seed)].map(([k, v]) => [k, v.map((x) => Math.round(x))]));

describe.each(Object.entries(convolutionCases))("%s", (_, c) => {
  const graph = convolutionGraph(c);
  const values = wholeValues(graph, 3);
  const want = convolutionByLoops(c, graph, values);

  it("means what plain loops compute, and its gradients do", () => {
    for (const [name, tensor] of evaluate(graph, values))
      expect([name, [...tensor.data]]).toEqual([name, [...want[name as "y"]].map((v) => v + 0)]);
  });

  it.each(Object.entries(adapters))("%s: the same, and no unfolded map is written", (_, facts) => {
    const program = compileFor(graph, facts);
    const got = interpretProgram(program, values);
    for (const [name, data] of got) expect([name, data]).toEqual([name, [...want[name as "y"]].map((v) => v + 0)]);
    // The gradient of a strided one is written by several kernels, each its own places, and here put in order.
    expect(unfolded(program)).toBeLessThanOrEqual((c.stride ?? 1) > 1 ? placesOfStrides(c) : 0);
    if ((c.stride ?? 1) === 1) expect(program.kernels).toHaveLength(3);
  });
});

describe.each([
  "3 x 3, valid",
  "3 x 3, stride 2, more zeros after than before",
  "3 x 2, dilated by 3, stride 2",
  "3 x 3, depthwise, eight channels, stride 2",
])("%s, of a map of open sides", (name) => {
  const c = convolutionCases[name]!;
  const { open, sizes } = openSides(c);
  const [graph, fixed] = [convolutionGraph(open), convolutionGraph(c)];
  const values = wholeValues(fixed, 3);
  const want = convolutionByLoops(c, fixed, values);

  it.each(["gpu", "swiftshader"])("%s: the same, and products are proven in bounds", (family) => {
    const program = compileFor(graph, adapters[family]!);
    const { outputs } = runProgram(program, values, sizes);
    for (const [output, data] of outputs)
      expect([output, [...data]]).toEqual([output, [...want[output as "y"]].map((v) => v + 0)]);
    // Of the schedules of hardware, where WebGPU's own checks stay on, those of few rows rely on remainders.
    const products = program.kernels.filter((k) => k.kind === "contraction" && !k.schedule.startsWith("few-rows"));
    expect(products.length).toBeGreaterThan(0);
    for (const { kernel } of products) expect(kernelIr.unprovenAccesses(kernel).size, kernel.name).toBe(0);
  });
});

describe("channels of a depthwise convolution", () => {
  const depthwise = (groups: number, dtype: DType = "f32"): ConvolutionCase => ({
    ...{ batch: 2, rows: 4, columns: 5, from: 1, to: 1, groups, dtype },
    ...{ kernel: [3, 3], padding: [1, 1, 1, 0] },
  });

  it.each([
    [8, 4, "f32"],
    [12, 4, "f16"],
    [7, 1, "f32"],
    [6, 1, "f16"],
  ] as const)("of %d a thread has %d, in both directions (%s)", (groups, along, dtype) => {
    const graph = convolutionGraph(depthwise(groups, dtype));
    const program = compileFor(graph, adapters.software!);
    for (const { schedule, settings } of program.kernels)
      expect([schedule, settings.along]).toEqual(["batch-runs", along]);
    const [y] = program.kernels.filter(({ bindings }) => bindings.at(-1)!.root === program.graph.outputs[0]!.node);
    if (dtype === "f32")
      expect(y!.kernel.buffers.map((b) => b.width)).toEqual(
        along === 4 ? [4, undefined, 4] : [undefined, undefined, undefined],
      );
    const values = wholeValues(graph, 4);
    const want = convolutionByLoops(depthwise(groups, dtype), graph, values);
    for (const [name, data] of interpretProgram(program, values))
      expect([name, data]).toEqual([name, [...want[name as "y"]].map((v) => v + 0)]);
  });

  it("lie apart where a map keeps them first: its places are taken instead", () => {
    const graph = convolutionGraph({ ...depthwise(8), layout: "channels-first", results: ["y"] });
    expect(compileFor(graph, adapters.software!).kernels.map((k) => k.schedule)).toEqual(["registers"]);
  });
});
