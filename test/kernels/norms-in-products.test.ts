/** Norms made by the products around them: when, that they compute the same, and how many kernels that leaves. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { factsOf } from "../../backends/webgpu/index.ts";
import { blockModel } from "../../bench/model/vit.ts";
import { runStages } from "../../compiler/driver/index.ts";
import { samePlan } from "../../compiler/fusion/same-plan.ts";
import { parsePlan } from "../../compiler/fusion/text/parse-plan.ts";
import { printPlan } from "../../compiler/fusion/text/print-plan.ts";
import {
  type AdapterFacts,
  baselineFacts,
  bindSizes,
  compileKernels,
  type Graph,
  kernelIr,
  type Program,
  parseGraph,
  runProgram,
} from "../../compiler/index.ts";
import { planForm, planningStages } from "../../compiler/pipelines/webgpu.ts";
import { defineModel, trace } from "../../dsl/index.ts";
import { internvit, internvit6b, pixelsInput, type VisionConfig } from "../../models/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { excess } from "../support/samples.ts";
import { asHardware, mistakes as mistakesOn } from "../webgpu/support.ts";
import { computed, drawn, inputsOf } from "./computed.ts";

const plain: AdapterFacts = { ...baselineFacts, maxBindings: 10 };
const adapters = kernelIr.recordedAdapters;
const h200: AdapterFacts = { ...baselineFacts, ...adapters["nvidia-h200"].facts };

const schedulesOf = (p: Program) => p.kernels.map((k) => k.schedule);
const hasNorm = (p: Program) => p.kernels.some((k) => k.kernel.kind === "row_reduction");

const norms = {
  "a layer norm": "layer_norm %2, %s, %t over [out] epsilon 0.00001",
  "an RMS norm": "rms_norm %2, %s over [out] epsilon 0.000001",
} as const;
const layerNorm = norms["a layer norm"];
const rmsNorm = norms["an RMS norm"];

function planOf(graph: Graph, precision: "f32" | "f16" = "f32", facts = plain) {
  const stages = planningStages(facts, { precision });
  const fusion = stages.findIndex((stage) => stage.name === "fusion");
  return runStages(graph, stages.slice(0, fusion + 1), planForm);
}

const planText = (...of: Parameters<typeof planOf>): string => printPlan(planOf(...of));

interface Sizes {
  readonly rows: number | string;
  readonly depth: number;
  readonly width: number;
  readonly columns: number;
}

/** A product with a bias and a residual, a norm of its rows, and a product that reads it. */
const between = ({ rows, depth, width, columns }: Sizes, norm: string, last = "contract %3, %v over [out]"): Graph =>
  parseGraph(`${typeof rows === "string" ? `symbol token in ${rows}\n` : ""}graph @g(
  %x: f32[batch=2, token=${typeof rows === "string" ? "token" : rows}, in=${depth}], %w: f32[in=${depth}, out=${width}],
  %b: f32[out=${width}], %r: f32[batch=2, token=${typeof rows === "string" ? "token" : rows}, out=${width}],
  %s: f32[out=${width}], %t: f32[out=${width}], %v: f32[out=${width}, hidden=${columns}]) {
  %0 = contract %x, %w over [in]
  %1 = add %0, %b
  %2 = add %r, %1
  %3 = ${norm}
  %4 = ${last}
  return %2 as stream, ${last.includes("%6") ? "%6" : "%4"} as y
}`);

const few: Sizes = { rows: 33, depth: 32, width: 64, columns: 32 };

describe("on tiles of products", () => {
  it.each(Object.entries(norms))("%s has no kernel of its own, at any number of rows and columns", (_, norm) => {
    for (const [rows, depth, width, columns] of [
      [33, 33, 64, 34],
      [35, 32, 96, 32],
    ] as const) {
      const { program, mistakes } = computed(between({ rows, depth, width, columns }, norm), plain);
      expect(schedulesOf(program)).toEqual(["shared-tiles", "shared-tiles"]);
      expect(mistakes).toEqual([]);
    }
  });

  it("means far from 0 are no matter, nor are rows of equal elements", () => {
    const far = drawn({ r: (i) => 1e4 + Math.sin(i * 7.3) * Math.SQRT2, x: () => 0, b: () => 0 });
    // A mean of 1e4 is a multiple of 2^-10; sums of 64 differences from it, times weights, are known to some of these.
    // Where the norm has a kernel of its own, as its rows are returned, the largest errors are 0.006 and 0.011.
    for (const [width, granted] of [
      [64, 0.008],
      [128, 0.011],
    ] as const) {
      const { program, mistakes } = computed(between({ ...few, width }, layerNorm), plain, far, granted);
      expect(hasNorm(program)).toBe(false);
      expect(mistakes).toEqual([]);
    }
    const equal = drawn({ r: () => 1e4, x: () => 0, b: () => 0 });
    expect(computed(between(few, layerNorm), plain, equal).mistakes).toEqual([]);
  });

  it("several products put the parts together, each for itself", () => {
    const graph = parseGraph(`graph @g(%x: f32[token=70, in=32], %w: f32[in=32, out=64], %r: f32[token=70, out=64],
  %s: f32[out=64], %u: f32[out=64, hidden=32], %v: f32[out=64, hidden=40]) {
  %0 = contract %x, %w over [in]
  %1 = add %0, %r
  %2 = rms_norm %1, %s over [out] epsilon 0.000001
  %3 = contract %2, %u over [out]
  %4 = contract %2, %v over [out]
  return %1 as stream, %3 as y, %4 as z
}`);
    // Parts of 32: of 64 there would be one.
    const { program, mistakes } = computed(graph, plain);
    expect(schedulesOf(program)).toEqual(["shared-tiles", "shared-tiles", "shared-tiles"]);
    expect(mistakes).toEqual([]);
  });

  it("sizes may be open, where rows are many in every run", () => {
    const norm = layerNorm;
    const open = (rows: string) => between({ ...few, rows }, norm);
    expect(hasNorm(compileKernels(open("1..512"), plain))).toBe(true);
    const program = compileKernels(open("33..512"), plain);
    expect(hasNorm(program)).toBe(false);
    const sized = bindSizes(open("33..512"), { token: 34 });
    const inputs = inputsOf(sized, drawn());
    const { outputs } = runProgram(program, inputs, { token: 34 });
    for (const [name, want] of evaluate(sized, inputs))
      expect(excess(outputs.get(name)!, want.data, 2e-5, 2e-5), name).toBeLessThanOrEqual(0);
  });
});

describe("on matrix units", () => {
  it.each(Object.entries(norms))("%s is in products of halves, with statistics in f32", (_, norm) => {
    const sizes = { rows: 34, depth: 32, width: 128, columns: 64 };
    const { program, mistakes } = computed(between(sizes, norm), h200, drawn(), 3e-2, "f16");
    expect(hasNorm(program)).toBe(false);
    expect(schedulesOf(program).filter((s) => s === "subgroup-matrices")).toHaveLength(2);
    expect(mistakes).toEqual([]);
  });
});

describe("on the device", () => {
  gpuTest("a layer norm is in its products", async ({ gpu }) => {
    const device = asHardware(gpu);
    const graph = between({ rows: 33, depth: 33, width: 64, columns: 35 }, layerNorm);
    expect(hasNorm(compileKernels(graph, factsOf(device)))).toBe(false);
    expect(await mistakesOn(device, graph, inputsOf(graph, drawn()))).toEqual([]);
  });
});

describe("a norm keeps its kernel, and the plan says why", () => {
  it("where rows do not divide into parts", () =>
    expect(planText(between({ ...few, width: 100 }, rmsNorm))).toContain(
      "its row length, 100, is not a multiple of the columns of a tile's partial reduction",
    ));

  it("where rows may be few", () => {
    expect(planText(between({ ...few, rows: 31 }, rmsNorm))).toContain(
      "it may have only 62 rows, and fusion pays from 64 on",
    );
  });

  it("where who reads it is no product, or reads it once more", () => {
    const again = "contract %3, %v over [out]\n  %5 = rename %4 axis hidden to out\n  %6 = add %5, %3";
    for (const last of ["softmax %3 axis out", "reduce_max %3 over [out]", again])
      expect(planText(between({ ...few, columns: few.width }, rmsNorm, last))).not.toContain(" prologue ");
  });

  it("where no schedule makes the rows: a sum shorter than a slab", () =>
    expect(planText(between({ ...few, depth: 5 }, rmsNorm))).toContain("no schedule fits"));

  it("where products would read rows of f32 in place of halves often", () => {
    const wide = between({ rows: 4096, depth: 32, width: 1024, columns: 8192 }, rmsNorm);
    expect(planText(wide)).toContain(" prologue ");
    expect(planText(wide, "f16", h200)).toMatch(/costs \d+ more bytes of cache traffic/);
  });
});

describe("kernels of a block on a GPU", () => {
  it("are six of the bench's, beside the sums of a split product", () => {
    const block = trace(blockModel({ batch: 8, tokens: 197, width: 768, heads: 12, mlp: 3072 }));
    const { kernels } = compileKernels(block, baselineFacts);
    expect(kernels.filter((k) => !k.kernel.name.endsWith("attn.proj/reduce_sum+add"))).toHaveLength(6);
  });

  it("are six of InternViT's between others", () => {
    const stack = (depth: number) => {
      const config: VisionConfig = { ...internvit6b, width: 256, heads: 2, mlp: 1024, depth };
      const features = (p: Parameters<typeof internvit>[0]) => internvit(p, pixelsInput(config), config).at(-1)!;
      const build = (p: Parameters<typeof internvit>[0]) => ({ features: features(p) });
      const graph = trace(defineModel({ name: "internvit", summary: "", config: {}, build }));
      // So many pictures that no product is split.
      return compileKernels(bindSizes(graph, { batch: 64 }), baselineFacts).kernels.length;
    };
    expect(stack(3) - stack(2)).toBe(6);
  });
});

it("plans say what is reduced after and before a product, and read back", () => {
  const plan = planOf(between(few, layerNorm));
  const text = printPlan(plan);
  expect(text).toMatch(/^ {4}epilogue group 1 reads %\d+ by 32$/m);
  expect(text).toMatch(/^ {4}prologue group 2 reads %\d+, %\d+ keeps %\d+, %\d+$/m);
  expect(samePlan(plan, parsePlan(text))).toBe(true);
  const less = [
    text.replace(/^ {4}prologue .*\n/m, ""),
    text.replace(/ by 32$/m, ""),
    text.replace(/(keeps %\d+), %\d+$/m, "$1"),
  ];
  for (const other of less) expect(samePlan(plan, parsePlan(other))).toBe(false);
});
