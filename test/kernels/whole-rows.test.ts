/** Rows folded in the kernel of the product that makes them: when, and that it computes the same. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { factsOf } from "../../backends/webgpu/index.ts";
import { blockModel } from "../../bench/model/vit.ts";
import { samePlan } from "../../compiler/fusion/same-plan.ts";
import { parsePlan } from "../../compiler/fusion/text/parse-plan.ts";
import { printPlan } from "../../compiler/fusion/text/print-plan.ts";
import {
  type AdapterFacts,
  baselineFacts,
  bindSizes,
  compileKernels,
  differentiate,
  type Graph,
  makeGraph,
  type Node,
  ops,
  type Program,
  parseGraph,
  runProgram,
} from "../../compiler/index.ts";
import { fuseForUpdates } from "../../compiler/lowering/index.ts";
import { defineModel, trace } from "../../dsl/index.ts";
import { internvit, internvit6b, pixelsInput, type VisionConfig } from "../../models/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { excess } from "../support/samples.ts";
import { mistakes as mistakesOn } from "../webgpu/support.ts";
import { computed, drawn, inputsOf } from "./computed.ts";

const withLanes = (lanes: number): AdapterFacts => ({
  ...baselineFacts,
  software: true,
  maxBindings: 12,
  features: new Set(["subgroups"]),
  subgroupSizes: { min: lanes, max: lanes },
});

const adapters = [4, 8].map((lanes) => [lanes, withLanes(lanes)] as const);
const [, swiftshader] = adapters[0]!;

const schedulesOf = (p: Program) => p.kernels.map((k) => k.schedule);
const joinedIn = (p: Program) => schedulesOf(p).filter((s) => s === "whole-rows").length;

/** A product with a bias and a residual, and what a norm makes of its rows. */
const normed = (rows: number, depth: number, width: number, norm: string): Graph =>
  parseGraph(`graph @g(%x: f32[batch=2, token=${rows}, in=${depth}], %w: f32[in=${depth}, out=${width}],
  %b: f32[out=${width}], %r: f32[batch=2, token=${rows}, out=${width}], %s: f32[out=${width}], %t: f32[out=${width}]) {
  %0 = contract %x, %w over [in]
  %1 = add %0, %b
  %2 = add %r, %1
  %3 = ${norm}
  return %2 as stream, %3 as normed
}`);

const norms = {
  "a layer norm": "layer_norm %2, %s, %t over [out] epsilon 0.00001",
  "an RMS norm": "rms_norm %2, %s over [out] epsilon 0.000001",
  "a softmax": "softmax %2 axis out",
  "an argmax": "argmax %2 axis out",
} as const;

describe.each(adapters)("subgroups of %i lanes on CPU threads", (lanes, facts) => {
  it.each(Object.entries(norms))("%s follows in the product's kernel", (_, norm) => {
    for (const [rows, depth, width] of [
      [129, 8, 64],
      [131, 7, 20],
      [128, 5, 132],
    ] as const) {
      const { program, mistakes } = computed(normed(rows, depth, width, norm), facts);
      expect(schedulesOf(program), `${rows} rows of ${width}`).toEqual(["whole-rows"]);
      expect(mistakes).toEqual([]);
    }
  });

  it("ranges of a product's rows are normalized apart, where each begins with a turn of the lanes", () => {
    const apart = (width: number) =>
      parseGraph(`graph @g(%x: f32[token=260, in=6], %w: f32[in=6, role=3, out=${width}], %s: f32[out=${width}]) {
  %0 = contract %x, %w over [in]
  %1 = slice %0 axis role start 0 length 1
  %2 = slice %0 axis role start 1 length 1
  %3 = rms_norm %1, %s over [out] epsilon 0.000001
  %4 = rms_norm %2, %s over [out] epsilon 0.000001
  return %0 as qkv, %3 as q, %4 as k
}`);
    const whole = computed(apart(4 * lanes * 2), facts);
    expect(schedulesOf(whole.program)).toEqual(["whole-rows"]);
    expect(whole.mistakes).toEqual([]);
    const between = computed(apart(4 * lanes + 4), facts);
    expect(joinedIn(between.program)).toBe(0);
    expect(between.mistakes).toEqual([]);
  });

  it("half precision keeps statistics in f32", () => {
    const { program, mistakes } = computed(normed(129, 16, 64, norms["a layer norm"]), facts, drawn(), 2e-2, "f16");
    expect(joinedIn(program)).toBe(1);
    expect(mistakes).toEqual([]);
  });

  it("means far from 0 are no matter, nor are rows of equal elements", () => {
    const far = drawn({ r: (i) => 1e4 + Math.sin(i), x: () => 0, b: () => 0 });
    // Elements are a multiple of 2^-10 here: what they differ by is known to 1e-3 of itself, before any norm.
    const { mistakes } = computed(normed(129, 3, 64, norms["a layer norm"]), facts, far, 5e-3);
    expect(mistakes).toEqual([]);
    const equal = drawn({ r: () => 1e4, x: () => 0, b: () => 0 });
    for (const norm of [norms["a layer norm"], norms["an RMS norm"]])
      expect(computed(normed(129, 3, 64, norm), facts, equal).mistakes).toEqual([]);
  });

  it("gradients are those of the reference", () => {
    const g = normed(129, 6, 32, norms["a layer norm"]);
    const [stream, y] = g.outputs.map((o) => o.node) as [Node, Node];
    const all = y.type.axes.map((a) => a.name);
    const loss = ops.add(ops.reduceSum(ops.mul(y, ops.mul(y, stream)), all), ops.reduceSum(stream, all));
    const gradients = differentiate(loss, g.inputs).map((node, i) => ({ name: `gradient ${i}`, node }));
    const { program, mistakes } = computed(
      makeGraph("both", [...g.outputs, ...gradients], g.inputs),
      facts,
      drawn(),
      2e-4,
    );
    expect(joinedIn(program)).toBeGreaterThan(0);
    expect(mistakes).toEqual([]);
  });
});

describe("on the device", () => {
  for (const [what, norm] of Object.entries(norms))
    gpuTest(`${what} follows its product`, async ({ gpu }) => {
      const graph = normed(131, 7, 132, norm);
      expect(joinedIn(compileKernels(graph, factsOf(gpu)))).toBe(1);
      expect(await mistakesOn(gpu, graph, inputsOf(graph, drawn()))).toEqual([]);
    });
});

describe("a norm keeps its kernel", () => {
  const keeps = (graph: Graph) => {
    const { program, mistakes } = computed(graph, swiftshader);
    expect(joinedIn(program)).toBe(0);
    expect(mistakes).toEqual([]);
  };

  it("where rows do not come by fours", () => keeps(normed(129, 4, 30, norms["a layer norm"])));
  it("where rows are too few for the threads of an adapter", () => keeps(normed(11, 4, 32, norms["a layer norm"])));

  it("where it folds across the product's rows, or a part that lies elsewhere", () => {
    keeps(normed(129, 4, 32, "reduce_sum %2 over [token, out]"));
    keeps(normed(129, 4, 32, "reduce_sum %2 over [token]"));
    keeps(normed(129, 4, 32, "reduce_sum %2 over [batch, out]"));
  });

  it.each([1, 0])("where it reads rows of other tokens, from token %i on", (start) => {
    keeps(
      parseGraph(`graph @g(%x: f32[token=240, in=4], %w: f32[in=4, out=16]) {
  %0 = contract %x, %w over [in]
  %1 = slice %0 axis token start ${start} length 236
  %2 = reduce_sum %1 over [out]
  return %0 as y, %2 as sums
}`),
    );
  });

  it("where nobody knows before a run that rows are many", () => {
    const open = (least: number) =>
      parseGraph(`symbol token in ${least}..512
graph @g(%x: f32[token=token, in=4], %w: f32[in=4, out=16], %s: f32[out=16]) {
  %0 = contract %x, %w over [in]
  %1 = rms_norm %0, %s over [out] epsilon 0.000001
  return %0 as y, %1 as normed
}`);
    expect(joinedIn(compileKernels(open(1), swiftshader))).toBe(0);
    const program = compileKernels(open(260), swiftshader);
    expect(joinedIn(program)).toBe(1);
    const sized = bindSizes(open(260), { token: 267 });
    const inputs = inputsOf(sized, drawn());
    const { outputs } = runProgram(program, inputs, { token: 267 });
    for (const [name, want] of evaluate(sized, inputs))
      expect(excess(outputs.get(name)!, want.data, 2e-5, 2e-5), name).toBeLessThanOrEqual(0);
  });
});

describe("kernels of a block on CPU threads", () => {
  it("are six of the bench's", () => {
    const block = trace(blockModel({ batch: 8, tokens: 65, width: 256, heads: 8, mlp: 1024 }));
    expect(compileKernels(block, swiftshader).kernels).toHaveLength(6);
  });

  it("are five of InternViT's between others, whose first norm and those of q and k follow products too", () => {
    const stack = (depth: number) => {
      const config: VisionConfig = { ...internvit6b, width: 256, heads: 2, mlp: 1024, depth };
      const features = (p: Parameters<typeof internvit>[0]) => internvit(p, pixelsInput(config), config).at(-1)!;
      const build = (p: Parameters<typeof internvit>[0]) => ({ features: features(p) });
      const graph = bindSizes(trace(defineModel({ name: "internvit", summary: "", config: {}, build })), { batch: 1 });
      return compileKernels(graph, swiftshader).kernels.length;
    };
    expect(stack(3) - stack(2)).toBe(5);
  });
});

it("plans say what follows, and read back", () => {
  const plan = fuseForUpdates(normed(129, 8, 64, "reduce_max %2 over [out]"), swiftshader, {
    rowTiles: { lanes: 4, rows: 12 },
  });
  const text = printPlan(plan);
  expect(text).toMatch(/^ {4}epilogue group 1 reads %\d+$/m);
  expect(samePlan(plan, parsePlan(text))).toBe(true);
  expect(samePlan(plan, parsePlan(text.replace(/^ {4}epilogue .*\n/m, "")))).toBe(false);
});
