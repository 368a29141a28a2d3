/**
 * Programs in f16, interpreted kernel by kernel with halves in memory, beside the float64 reference. What is granted is
 * what eleven bits give: a few roundings of the result, measured by its largest element.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  type AdapterFacts,
  baselineFacts,
  build,
  compileKernels,
  differentiate,
  type Graph,
  inputName,
  kernelIr,
  makeGraph,
  type Node,
  opRecords,
  ops,
  precisionPath,
  runProgram,
} from "../../compiler/index.ts";
import { defineModel, trace } from "../../dsl/index.ts";
import { graphArbitrary, inputValues } from "../support/random-graph.ts";
import { graphOf, inputMap, inputsOf, operandsOf } from "../support/samples.ts";
import { encoder } from "./models.ts";
import { adapters } from "./support.ts";

const withHalves = (facts: AdapterFacts): AdapterFacts => ({ ...facts, features: new Set([...facts.features, "f16"]) });
const adaptersWithHalves = Object.entries(adapters).map(([name, facts]) => [name, withHalves(facts)] as const);
const software = withHalves(adapters.software!);
const h200: AdapterFacts = { ...baselineFacts, ...kernelIr.recordedAdapters["nvidia-h200"].facts };

/** How far each output is off, as a part of its largest element; infinite where one is no number. */
function errors(graph: Graph, values: ReadonlyMap<string, Float64Array>, facts: AdapterFacts): Map<string, number> {
  const { outputs } = runProgram(compileKernels(graph, facts, { precision: "f16" }), values);
  return new Map(
    [...evaluate(graph, values)].map(([name, { data }]) => {
      const got = outputs.get(name)!;
      const largest = data.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-30);
      const worst = data.reduce((m, v, i) => {
        const off = Math.abs(got[i]! - v);
        return Number.isNaN(off) ? Number.POSITIVE_INFINITY : Math.max(m, off);
      }, 0);
      return [name, worst / largest] as const;
    }),
  );
}

const worst = (...of: Parameters<typeof errors>): number => Math.max(...errors(...of).values());

const cases = opRecords().flatMap((r) =>
  r.kind === "source" ? [] : r.cases.map((c, i) => [`${r.name} ${i}`, r, c] as const),
);

describe.each(adaptersWithHalves)("in f16, kernels for a %s adapter", (_, facts) => {
  test.each(cases)("compute %s", (_name, record, c) => {
    const inputs = inputsOf(c);
    const graph = graphOf(record.name, inputs, build(record.name, inputs, c.attrs));
    expect(worst(graph, inputMap(operandsOf(record, c, 7)), facts)).toBeLessThan(3e-3);
  });

  test("compute random graphs", () => {
    const graphs = graphArbitrary({ maxElements: 200, maxSteps: 8, sizes: [1, 3, 17, 65] });
    const property = fc.property(graphs, fc.nat(1000), (graph, seed) => {
      expect(worst(graph, inputValues(graph, seed), facts)).toBeLessThan(0.05);
    });
    fc.assert(property, { numRuns: 40, seed: 7 });
  });
});

const axis = (name: string, size: number) => ({ name, size });
const feed = (name: string, ...axes: { name: string; size: number }[]) => ops.input(name, "f32", axes);
const graphTo = (...nodes: Node[]) =>
  makeGraph(
    "half",
    nodes.map((node, i) => ({ name: `y${i}`, node })),
  );
const fill = (graph: Graph, given: Readonly<Record<string, (i: number) => number>>) =>
  new Map(
    graph.inputs.map((n) => {
      const length = n.type.axes.reduce((k, a) => k * Number(a.size), 1);
      return [inputName(n), Float64Array.from({ length }, (_, i) => Math.fround(given[inputName(n)]!(i)))];
    }),
  );

describe("at the ends of f16", () => {
  const [row, embed, hidden, key] = [axis("row", 5), axis("embed", 7), axis("hidden", 9), axis("key", 5)];
  const parameter = (name: string, ...axes: { name: string; size: number }[]) =>
    ops.parameter(name, "f32", axes, { kind: "normal", mean: 0, std: 1 });

  test("a residual stream beyond 65504 is kept, and its norm made of it", () => {
    const x = feed("x", row, embed);
    const normed = ops.rmsNorm(x, parameter("scale", embed), ["embed"], 1e-6);
    const branch = ops.rename(ops.contract(normed, parameter("w", hidden, embed), ["embed"]), "hidden", "other");
    const sum = ops.add(x, ops.rename(ops.slice(branch, "other", 0, 7), "other", "embed"));
    const graph = graphTo(sum, ops.rmsNorm(sum, parameter("scale2", embed), ["embed"], 1e-6));
    const values = fill(graph, {
      x: (i) => 3e5 * Math.cos(i),
      scale: () => 1,
      w: (i) => Math.sin(3 * i),
      scale2: () => 1,
    });
    expect(worst(graph, values, software)).toBeLessThan(1e-3);
  });

  test("products that pass 65504 are infinite, and said to be by what follows: never an ordinary number", () => {
    const y = ops.contract(feed("x", row, embed), parameter("w", hidden, embed), ["embed"]);
    const graph = graphTo(ops.contract(ops.relu(y), parameter("v", row, hidden), ["hidden"]));
    const values = fill(graph, { x: () => 300, w: () => 300, v: () => 1 });
    expect(worst(graph, values, software)).toBe(Number.POSITIVE_INFINITY);
  });

  test("sums are f32: a long one of values that f16 could not add up", () => {
    const long = axis("long", 4097);
    const graph = graphTo(ops.contract(feed("x", long), parameter("w", hidden, long), ["long"]));
    // Once 4096 is reached, an f16 sum of ones stays where it is, and a large one is lost to rounding on the way.
    const values = fill(graph, { x: (i) => (i === 0 ? 2048 : 1), w: () => 1 });
    expect(worst(graph, values, software)).toBeLessThan(5e-4);
  });

  test("a bias of a learned f32 that f16 rounds to 0 changes nothing else", () => {
    const y = ops.add(
      ops.contract(feed("x", row, embed), parameter("w", hidden, embed), ["embed"]),
      parameter("b", hidden),
    );
    const graph = graphTo(ops.gelu(y));
    expect(worst(graph, fill(graph, { x: Math.sin, w: Math.cos, b: () => 1e-9 }), software)).toBeLessThan(2e-3);
  });

  test("rows of attention that see no key give 0, at logits of thousands, and so do their gradients", () => {
    const [q, k] = [feed("q", row, embed), feed("k", key, embed)];
    const v = ops.rename(feed("v", key, embed), "embed", "wide");
    const visible = ops.gt(ops.iota(row), ops.iota(key));
    const y = ops.attention(q, k, v, { dot: "embed", over: "key", scale: 1 }, visible);
    const loss = ops.reduceSum(ops.mul(y, y), ["row", "wide"]);
    const graph = graphTo(y, ...differentiate(loss, [q, v]));
    const values = fill(graph, {
      q: (i) => 20 * Math.sin(i),
      k: (i) => 20 * Math.cos(2 * i),
      v: (i) => Math.sin(5 * i),
    });
    for (const facts of [software, withHalves(baselineFacts)]) {
      const { outputs } = runProgram(compileKernels(graph, facts, { precision: "f16" }), values);
      for (const [name, { data }] of evaluate(graph, values)) {
        const got = outputs.get(name)!;
        if (name !== "y2") expect([...got.slice(0, 7)]).toEqual([0, 0, 0, 0, 0, 0, 0]); // row 0 sees nothing
        expect([...got].every(Number.isFinite)).toBe(true);
        expect(data.length).toBe(got.length);
      }
    }
    // Logits of thousands that f16 rounds by ones would choose other keys: with factors that f16 holds they do not.
    const whole = fill(graph, { q: (i) => 16 * Math.round(Math.sin(i) * 4), k: (i) => (i % 3) - 1, v: Math.sin });
    expect(errors(graph, whole, software).get("y0")).toBeLessThan(2e-3);
  });
});

describe("small cotangents", () => {
  const [row, embed, hidden] = [axis("row", 5), axis("embed", 7), axis("hidden", 9)];
  const w = ops.parameter("w", "f32", [hidden, embed], { kind: "normal", mean: 0, std: 1 });
  const x = ops.input("x", "f32", [row, embed]);
  const h = ops.relu(ops.contract(x, w, ["embed"]));
  /** The mean of 2^-24 of a product's result: cotangents below what f16 has. */
  const step = (scale: number) => {
    const loss = ops.mul(ops.reduceSum(ops.mul(h, ops.input("t", "f32", [row, hidden])), ["row", "hidden"]), 2 ** -24);
    const scaled = ops.mul(loss, ops.state("scale", "f32", []));
    const [gradient] = differentiate(scaled, [w]);
    const graph = graphTo(ops.mul(gradient!, ops.div(1, ops.state("scale", "f32", []))));
    return worst(
      graph,
      fill(graph, { x: Math.sin, w: Math.cos, t: (i) => Math.cos(i) / 3, scale: () => scale }),
      software,
    );
  };
  test("are lost without a loss scale, and kept with one", () => {
    expect(step(1)).toBeGreaterThan(0.1);
    expect(step(1024)).toBeLessThan(1e-2); // subnormals of f16, which have fewer bits
    expect(step(2 ** 14)).toBeLessThan(2e-3);
  });
  test("that a scale lifts beyond 65504 are infinite", () => expect(step(2 ** 44)).toBe(Number.POSITIVE_INFINITY));
});

describe("memory of a block in f16", () => {
  const s = { batch: 4, tokens: 256, width: 128, heads: 2, mlp: 256, depth: 1 };
  const graph = trace(defineModel({ name: "enc", summary: "", config: {}, build: (p) => ({ y: encoder(p, s) }) }));
  const program = compileKernels(graph, h200, { precision: "f16" });

  test("all that products and attention read is f16, and what is written but the stream and its sums", () => {
    const written = program.kernels.flatMap((k) =>
      k.kernel.buffers.filter((b) => b.access !== "read").map((b) => b.dtype),
    );
    // The stream after attention with the sums of its rows' parts, and the stream after the MLP.
    expect(written.filter((d) => d === "f32")).toHaveLength(3);
    for (const { group } of program.kernels.flatMap((k) =>
      k.kind === "contraction" || k.kind === "attention" ? [{ group: k }] : [],
    )) {
      const read = group.kernel.buffers.filter((b) => b.access === "read").map((b) => b.dtype);
      // A product that norms the stream as it loads it reads that as it is.
      const norms = group.kernel.arrays.some((a) => a.name.startsWith("kept"));
      expect(read.filter((d) => d === "f16").length).toBeGreaterThanOrEqual(norms ? 1 : 2);
    }
  });

  test("takes no kernel more than in f32, but for weights that many rows read", () => {
    const plain = compileKernels(graph, h200);
    const conversions = program.kernels.filter((k) => k.kind === "elementwise").length;
    expect(conversions).toBe(4);
    expect(program.kernels.length - conversions).toBe(plain.kernels.length);
  });

  test("is f32 on an adapter without f16, to the last kernel", () => {
    const without: AdapterFacts = { ...h200, features: new Set(["subgroups"]) };
    const texts = (precision: "f32" | "f16") =>
      compileKernels(graph, without, { precision }).kernels.map((k) => kernelIr.printKernel(k.kernel));
    expect(texts("f16")).toEqual(texts("f32"));
  });
});

describe("the path of an adapter", () => {
  const facts = (name: keyof typeof kernelIr.recordedAdapters): AdapterFacts => ({
    ...baselineFacts,
    ...kernelIr.recordedAdapters[name].facts,
  });
  test.each<readonly [string, AdapterFacts, string, string]>([
    ["an H200", facts("nvidia-h200"), "f16 on matrices", "multiplies matrices of f16"],
    ["AMD", facts("amd-rdna3"), "f16 on matrices", "multiplies matrices of f16"],
    ["f16 alone", software, "f16 on scalar tiles", "no matrix units that WebGPU shows"],
    ["matrices of bytes", { ...facts("nvidia-h200"), matrices: [] }, "f16 on scalar tiles", "take no f16"],
    ["none", baselineFacts, "f16 storage only, f32 compute", "shader-f16"],
  ])("%s", (_, adapter, path, why) => {
    const taken = precisionPath(adapter, { precision: "f16" });
    expect([taken.path, taken.computes]).toEqual([path, path.startsWith("f16 on") ? "f16" : "f32"]);
    expect(taken.why).toContain(why);
  });
  test("where only parameters are kept as f16, or nothing is", () => {
    expect(precisionPath(software, { precision: "f32", parameters: "f16" }).path).toBe("f16 storage only, f32 compute");
    expect(precisionPath(software, { precision: "f32" }).path).toBe("f32");
    expect(precisionPath(baselineFacts, { precision: "f16", parameters: "f32" }).path).toBe("f32");
  });
});
