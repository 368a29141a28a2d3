/**
 * Attention's schedules with every setting that matters, in the interpreter with recorded adapters' facts against the
 * reference, and their WGSL on a device that runs nothing. None of the kernels with matrices has run on hardware.
 */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import {
  type AdapterFacts,
  addDims,
  baselineFacts,
  bindSizes,
  compileKernels,
  differentiate,
  kernelIr,
  lowering,
  makeGraph,
  ops,
  type Program,
  runProgram,
  symbol,
} from "../../compiler/index.ts";
import { validatingDevice } from "../support/adapter.ts";
import { excess } from "../support/samples.ts";
import {
  attentionGraph,
  attentionKernels,
  attentionValues,
  check,
  onlyAttention,
  recorded,
  type Shape,
} from "./attention-cases.ts";
import { interpretProgram } from "./support.ts";

const all = ["q", "k", "v"] as const;
/** Weights, and in the backward passes cotangents, are rounded to halves before they are multiplied. */
const halves = 6e-3;
const singles = 1e-4;

const shapes: Readonly<Record<string, Shape>> = {
  "rows and keys that nothing divides, batches and heads": { queries: 33, keys: 41, dim: 32, batch: 2, heads: 2 },
  "one row more than a tile, one key more than a block": { queries: 17, keys: 65, dim: 32 },
  "a width of its own, padded matrices": { queries: 20, keys: 24, dim: 40, width: 72, mask: "causal" },
  "widths that come by ones": { queries: 20, keys: 21, dim: 37, width: 35 },
  "the widest head": { queries: 16, keys: 17, dim: 256 },
  "grouped queries behind a mask of the batch": { queries: 9, keys: 40, dim: 32, batch: 2, group: 3, mask: "padding" },
  "a mask that is stored": { queries: 18, keys: 33, dim: 32, heads: 2, mask: "stored" },
  "rows that see nothing": { queries: 20, keys: 32, dim: 32, mask: "some rows hidden" },
  "nothing to see": { queries: 16, keys: 20, dim: 32, mask: "all hidden" },
  "what is fused before and after": { queries: 17, keys: 18, dim: 32, heads: 2, around: true },
};

const extremes: Readonly<Record<string, Shape>> = {
  "logits of hundreds": { queries: 16, keys: 70, dim: 32, low: -30, high: 30, scale: 0.2 },
  "logits that grow along the keys": { queries: 18, keys: 130, dim: 32, high: 8, growing: true, scale: 0.5 },
  "logits of one large key": { queries: 16, keys: 32, dim: 32, low: 59000, high: 65504, scale: 1e-9 },
  "keys at the end of halves": { queries: 16, keys: 33, dim: 32, low: -65504, high: 65504, scale: 1e-8 },
};

const backward: Readonly<Record<string, Shape>> = {
  "all, of rows and keys that nothing divides": { queries: 19, keys: 35, dim: 32, heads: 2, gradients: all },
  "all, of other widths behind a mask": { queries: 35, keys: 19, dim: 40, width: 72, mask: "causal", gradients: all },
  "that of v alone, of grouped queries": { queries: 11, keys: 33, dim: 32, group: 2, heads: 2, gradients: ["v"] },
  "that of k alone, where rows see nothing": {
    queries: 21,
    keys: 18,
    dim: 48,
    mask: "some rows hidden",
    gradients: ["k"],
  },
  "all, of softly capped logits": { queries: 19, keys: 21, dim: 32, mask: "causal", softcap: 1.5, gradients: all },
  "grouped queries, padding": { queries: 9, keys: 20, dim: 32, batch: 2, group: 2, mask: "padding", gradients: all },
};

const biased: Shape = { queries: 11, keys: 13, dim: 20, batch: 2, bias: ["query", "key"] };

/** Runs a shape, and lets Dawn check the kernels that it made. */
async function holds(
  s: Shape,
  facts: Parameters<typeof check>[1],
  schedules: lowering.ScheduleTables,
  tolerance: number,
): Promise<void> {
  const { program, mistakes } = check(s, facts, schedules, tolerance);
  expect(mistakes).toEqual([]);
  const gpu = await validatingDevice();
  for (const { kernel } of attentionKernels(program)) {
    expect(kernelIr.printKernel(kernelIr.parseKernel(kernelIr.printKernel(kernel)))).toBe(kernelIr.printKernel(kernel));
    const module = gpu.device.createShaderModule({ code: emitWgsl(kernel) });
    const { messages } = await gpu.settle(module.getCompilationInfo());
    expect([...messages].map((m) => m.message)).toEqual([]);
  }
}

describe.each(["nvidia-h200", "amd-rdna3", "apple-m"] as const)("matrices of %s", (adapter) => {
  const facts = recorded(adapter);
  const dtype = adapter === "apple-m" ? "f32" : "f16";
  const tolerance = adapter === "apple-m" ? singles : halves;
  const matrices = (keep: (s: lowering.Settings) => boolean) => onlyAttention("subgroup-matrices", keep);

  // The slabs of f32 vectors of 256 take more memory than Apple's workgroups have.
  const fitting = Object.entries(shapes).filter(([, s]) => dtype === "f16" || s.dim < 256);

  it.each(fitting)("%s", (_, s) =>
    holds(
      { ...s, dtype },
      facts,
      matrices((t) => t.tiles === 2),
      tolerance,
    ),
  );
  it.each(Object.entries(extremes))("%s", (_, s) =>
    holds(
      { ...s, dtype },
      facts,
      matrices((t) => t.tiles === 1),
      tolerance,
    ),
  );
  it.each(Object.entries(backward))("gradients: %s", (_, s) =>
    holds(
      { ...s, dtype },
      facts,
      matrices((t) => t.tiles! <= 2),
      2 * tolerance,
    ),
  );
});

describe("matrices in every shape and setting", () => {
  const s: Shape = { queries: 33, keys: 70, dim: 32, mask: "stored", gradients: all };
  it.each([
    ["nvidia-h200", { n: 16, tiles: 4, block: 32, ahead: 0 }],
    ["nvidia-h200", { n: 16, tiles: 1, block: 64, ahead: 1 }],
    ["nvidia-h200", { n: 8, k: 16, tiles: 6, block: 16, ahead: 1 }],
    ["nvidia-h200", { n: 8, k: 8, tiles: 1, block: 64, ahead: 0 }],
    ["apple-m", { tiles: 2, block: 32, ahead: 0 }],
  ] as const)("%s %j", (adapter, wanted) => {
    const keep = (t: lowering.Settings) => Object.entries(wanted).every(([k, v]) => t[k] === v);
    return holds(s, recorded(adapter), onlyAttention("subgroup-matrices", keep), 2 * halves);
  });

  it("halves on units that take f32 only are widened on their way", () =>
    holds(
      { ...s, dtype: "f16" },
      recorded("apple-m"),
      onlyAttention("subgroup-matrices", () => true),
      halves,
    ));
});

describe("shared tiles", () => {
  const least = baselineFacts;
  const desktop = { ...baselineFacts, maxWorkgroupStorage: 48 * 1024 };
  const tiles = (down: number) => onlyAttention("shared-tiles", (t) => t.threadsDown === down);
  const small = Object.entries({ ...shapes, ...extremes }).filter(([, s]) => s.keys <= 41);

  it.each(small)("%s", (_, s) => holds({ ...s, dtype: "f32" }, least, tiles(8), singles));
  it.each(Object.entries(backward))("gradients: %s", (_, s) =>
    holds({ ...s, dtype: "f32" }, least, tiles(8), 2 * singles),
  );
  it("tiles of every size", async () => {
    const s: Shape = { queries: 33, keys: 34, dim: 36, width: 20, dtype: "f32", mask: "causal", gradients: all };
    for (const down of [4, 16]) await holds(s, desktop, tiles(down), 2 * singles);
  });
  it("of halves", () =>
    holds(
      { ...backward["all, of rows and keys that nothing divides"]!, dtype: "f16" },
      { ...least, features: new Set(["f16"]) },
      tiles(8),
      halves,
    ));
});

describe("rows of the lanes of a subgroup", () => {
  const facts = recorded("swiftshader");
  const rows = (n: number) => onlyAttention("subgroup-rows", (t) => t.rows === n);
  // Vectors of 256 are more than a lane holds.
  const cases = { ...shapes, ...extremes, "a bias that hides": { ...biased, hides: true, heads: 2 } };
  const small = Object.entries<Shape>(cases).filter(([, s]) => s.dim < 256);
  const all = { ...backward, "those of a bias's neighbours": { ...biased, gradients: ["q", "k", "v"] as const } };

  it.each(small)("%s", (_, s) => holds({ ...s, dtype: "f32" }, facts, rows(1), singles));
  it.each(Object.entries<Shape>(all))("gradients: %s", (_, s) =>
    holds({ ...s, dtype: "f32" }, facts, rows(2), 2 * singles),
  );
  it("as many as a lane takes, in subgroups of two too", async () => {
    const s: Shape = {
      queries: 35,
      keys: 9,
      dim: 12,
      width: 7,
      dtype: "f32",
      mask: "causal",
      gradients: ["q", "k", "v"],
    };
    await holds(s, facts, rows(4), 2 * singles);
    await holds(s, { ...facts, subgroupSizes: { min: 2, max: 2 } }, rows(3), 2 * singles);
  });
});

describe("rows in registers of CPU threads", () => {
  const facts: AdapterFacts = { ...baselineFacts, software: true };
  it.each([1, 4, 8])("%i at a time, of rows and keys that nothing divides", async (rows) => {
    const s: Shape = { queries: 19, keys: 9, dim: 6, width: 5, dtype: "f32", gradients: ["q", "k", "v"] };
    await holds(
      { ...s, mask: "causal" },
      facts,
      onlyAttention("rows-in-registers", (t) => t.rows === rows),
      2 * singles,
    );
  });
});

describe("blocks that a mask hides as a whole", () => {
  const causal: Shape = { queries: 32, keys: 96, dim: 32, mask: "causal" };
  /** Hidden values that are no numbers: nothing that is multiplied with them, were it with 0, stays a number. */
  const poisoned = (s: Shape, facts: Parameters<typeof check>[1], schedules: lowering.ScheduleTables, from = 32) => {
    const graph = attentionGraph(s);
    const program = compileKernels(graph, facts, { schedules });
    const values = attentionValues(graph, s);
    const zeros = new Map(values);
    const clean = (x: number, i: number) => (Math.floor(i / s.dim) % s.keys >= from ? x : values.get("v")![i]!);
    values.set("v", values.get("v")!.slice());
    zeros.set(
      "v",
      values.get("v")!.map((_, i) => clean(0, i)),
    );
    values.set(
      "v",
      values.get("v")!.map((_, i) => clean(Number.NaN, i)),
    );
    const got = interpretProgram(program, values);
    for (const [name, want] of evaluate(graph, zeros))
      expect(excess(got.get(name)!, want.data, halves, halves)).toBeLessThanOrEqual(0);
  };

  it("are left out on matrix units, where none is loaded ahead", () => {
    poisoned(
      causal,
      recorded("nvidia-h200"),
      onlyAttention("subgroup-matrices", (t) => t.block === 32),
    );
    const both = { ...causal, queries: 16, group: 2, heads: 2 };
    poisoned(
      both,
      recorded("nvidia-h200"),
      onlyAttention("subgroup-matrices", (t) => t.block === 32 && t.tiles === 1),
    );
  });
  it("are left out of shared tiles", () =>
    poisoned(
      { ...causal, dtype: "f32" },
      baselineFacts,
      onlyAttention("shared-tiles", (t) => t.threadsDown === 8),
    ));
  it("are left out of few rows", () =>
    poisoned(
      { ...causal, queries: 2, keys: 300, dtype: "f32" },
      baselineFacts,
      onlyAttention("few-rows", () => true),
      128,
    ));
});

describe("few rows", () => {
  it.each([
    { queries: 1, keys: 150, dim: 64, heads: 2, mask: "padding" },
    { queries: 1, keys: 140, dim: 32, group: 3 },
    { queries: 2, keys: 129, dim: 40, width: 24, batch: 2, group: 3, mask: "causal" },
    { queries: 3, keys: 130, dim: 32, growing: true, high: 8 },
    { queries: 2, keys: 130, dim: 32, mask: "all hidden" },
  ] as const)("%j", (s) =>
    holds(
      { ...s, dtype: "f32" },
      baselineFacts,
      onlyAttention("few-rows", () => true),
      singles,
    ),
  );
});

describe("the choice", () => {
  const taken = (s: Shape, facts: Parameters<typeof check>[1]) =>
    attentionKernels(compileKernels(attentionGraph(s), facts)).map((k) => k.schedule);
  const vision: Shape = { queries: 257, keys: 257, dim: 128, batch: 16, heads: 25 };

  it("takes matrices where there are some that sum in f32, and tiles elsewhere", () => {
    expect(taken(vision, recorded("nvidia-h200"))).toEqual(["subgroup-matrices"]);
    expect(taken(vision, recorded("amd-rdna3"))).toEqual(["subgroup-matrices"]);
    expect(taken(vision, recorded("apple-m"))).toEqual(["subgroup-matrices"]);
    const halfSums = recorded("nvidia-h200").matrices.filter((m) => m.result === "f16");
    expect(taken(vision, { ...recorded("nvidia-h200"), matrices: halfSums })).toEqual(["shared-tiles"]);
    expect(taken({ ...vision, dtype: "f32" }, recorded("nvidia-h200"))).toEqual(["shared-tiles"]);
  });

  it("gives few rows a thread each, and small problems and CPU threads rows in registers", () => {
    expect(taken({ ...vision, queries: 1 }, recorded("nvidia-h200"))).toEqual(["few-rows"]);
    expect(taken({ ...vision, queries: 5, keys: 5 }, recorded("nvidia-h200"))).toEqual(["rows-in-registers"]);
    expect(taken(vision, { ...baselineFacts, software: true })).toEqual(["rows-in-registers"]);
    expect(taken(vision, { ...recorded("swiftshader"), subgroupSizes: { min: 8, max: 8 } })).toEqual([
      "rows-in-registers",
    ]);
    expect(taken(vision, recorded("swiftshader"))).toEqual(["subgroup-rows"]);
  });

  it("on CPU threads, computes small problems one row at a time: code for more takes longer to compile than they run", () => {
    const rowsOf = (queries: number, facts: AdapterFacts) =>
      attentionKernels(
        compileKernels(attentionGraph({ queries, keys: queries, dim: 16, batch: 8, heads: 8, dtype: "f32" }), facts),
      ).map((k) => k.settings.rows);
    expect(rowsOf(9, recorded("swiftshader"))).toEqual([1]);
    expect(rowsOf(512, recorded("swiftshader"))).toEqual([4]);
    expect(rowsOf(9, { ...baselineFacts, software: true })).toEqual([1]);
    expect(rowsOf(512, { ...baselineFacts, software: true })).toEqual([8]);
  });

  it("fits the memory of every adapter at every head width", () => {
    for (const dim of [32, 80, 256])
      for (const name of ["nvidia-h200", "amd-rdna3", "apple-m", "intel-xe2"] as const) {
        const s: Shape = { queries: 1025, keys: 4097, dim, heads: 8, gradients: all, dtype: "f16" };
        const facts = recorded(name);
        for (const { kernel, schedule } of attentionKernels(compileKernels(attentionGraph(s), facts))) {
          expect(schedule).not.toBe("rows-in-registers");
          expect(kernelIr.checkFeasible(kernel, facts)).toEqual([]);
        }
      }
  });
});

describe("few queries over many keys", () => {
  const long: Shape = { queries: 1, keys: 700, dim: 32, heads: 2, group: 2, dtype: "f32" };
  const kernelsOf = (program: Program) => attentionKernels(program).map((k) => k.name);

  it.each([
    long,
    { ...long, mask: "padding", batch: 2 },
    { ...long, mask: "all hidden", queries: 3, group: 1 },
  ] as const)("are taken in runs: %j", (s) => {
    for (const facts of [baselineFacts, { ...baselineFacts, software: true }]) {
      const { program, mistakes } = check(s, facts, lowering.scheduleTables, singles);
      expect(mistakes).toEqual([]);
      expect(kernelsOf(program)).toEqual(["attention_parts+attention_parts_lse"]);
    }
  });

  it("meet on matrix units too", () => {
    const s: Shape = { queries: 20, keys: 515, dim: 32, mask: "causal", heads: 2 };
    const { program, mistakes } = check(s, recorded("nvidia-h200"), lowering.scheduleTables, halves);
    expect(mistakes).toEqual([]);
    expect(attentionKernels(program).map((k) => `${k.name} by ${k.schedule}`)).toEqual([
      "attention_parts+attention_parts_lse by subgroup-matrices",
    ]);
  });

  it("are left whole where statistics are asked for, where keys are few and where queries are many", () => {
    const whole = (s: Shape) =>
      expect(kernelsOf(compileKernels(attentionGraph(s)))[0]).toMatch(/^attention(\+attention_lse|\+mul)?$/);
    whole({ ...long, gradients: all });
    whole({ ...long, keys: 300 });
    whole({ ...long, queries: 700, heads: 12 });
  });

  it("and of open length, also where there are fewer keys than runs", () => {
    const past = symbol("past", { max: 2000 });
    const keys = { name: "key", size: addDims(past, 1) };
    const [h, d] = [
      { name: "h", size: 2 },
      { name: "d", size: 32 },
    ];
    const [q, k, v] = [
      ops.input("q", "f32", [h, d]),
      ops.input("k", "f32", [h, keys, d]),
      ops.input("v", "f32", [h, keys, d]),
    ];
    const y = ops.attention(q, k, v, { dot: "d", over: "key", scale: 0.2 });
    const graph = makeGraph("decode", [{ name: "y", node: y }]);
    for (const facts of [baselineFacts, { ...baselineFacts, software: true }]) {
      const program = compileKernels(graph, facts);
      expect(kernelsOf(program)).toEqual(["attention_parts+attention_parts_lse"]);
      for (const sizes of [{ past: 1 }, { past: 4 }, { past: 66 }, { past: 700 }]) {
        const bound = bindSizes(graph, sizes);
        const values = attentionValues(bound, { queries: 1, keys: sizes.past + 1, dim: 32 });
        const { outputs } = runProgram(program, values, sizes);
        for (const [name, want] of evaluate(bound, values))
          expect(excess(outputs.get(name)!, want.data, singles, singles)).toBeLessThanOrEqual(0);
      }
    }
  });
});

describe("heads of an open width, which no kernel of attention takes", () => {
  /**
   * Channels that attend to each other, summed over places (El-Nouby et al. 2021, arXiv:2106.09681), or values of open
   * width.
   */
  const graphOf = (open: "dot" | "width", mask: boolean) => {
    const [n, channel, other] = [
      { name: "n", size: symbol("n", { max: 90 }) },
      { name: "channel", size: 6 },
      { name: "other", size: 5 },
    ];
    const [dot, width] = open === "dot" ? [n, { name: "w", size: 7 }] : [{ name: "d", size: 9 }, n];
    const [b, given] = [
      { name: "b", size: 2 },
      (name: string, ...axes: Parameters<typeof ops.input>[2]) => ops.input(name, "f32", axes),
    ];
    const [q, k, v] = [given("q", b, channel, dot), given("k", b, other, dot), given("v", b, other, width)];
    const seen = ops.lt(given("seen", b, other), 0.5);
    const y = ops.attention(q, k, v, { dot: dot.name, over: "other", scale: 0.3 }, mask ? seen : undefined);
    const dy = given("dy", b, channel, width);
    const loss = ops.reduceSum(
      ops.mul(y, dy),
      y.type.axes.map((a) => a.name),
    );
    const grads = differentiate(loss, [q, k, v]);
    return makeGraph("open", [
      { name: "y", node: y },
      ...["q", "k", "v"].map((x, i) => ({ name: `d${x}`, node: grads[i]! })),
    ]);
  };

  it.each([
    ["dot", false],
    ["dot", true],
    ["width", true],
  ] as const)("are products with a softmax between them: %s, masked %s", (open, mask) => {
    const graph = graphOf(open, mask);
    for (const facts of [baselineFacts, { ...baselineFacts, software: true }]) {
      const program = compileKernels(graph, facts);
      for (const sizes of [{ n: 1 }, { n: 33 }, { n: 70 }]) {
        const bound = bindSizes(graph, sizes);
        const values = attentionValues(bound, { queries: 6, keys: 5, dim: 9 });
        const { outputs } = runProgram(program, values, sizes);
        for (const [name, want] of evaluate(bound, values))
          expect(excess(outputs.get(name)!, want.data, singles, singles), `${name} of ${sizes.n}`).toBeLessThanOrEqual(
            0,
          );
      }
    }
  });
});
