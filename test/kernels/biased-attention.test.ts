/**
 * Attention with a bias by every schedule, forward and backward, in the interpreter with recorded adapters' facts
 * against the reference, and their WGSL on a device that runs nothing. None of the kernels with matrices has run on
 * hardware.
 */
import { describe, expect, it } from "vitest";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import { baselineFacts, compileKernels, lowering, nodesOf, opRecord } from "../../compiler/index.ts";
import { validatingDevice } from "../support/adapter.ts";
import { attentionGraph, attentionKernels, check, onlyAttention, recorded, type Shape } from "./attention-cases.ts";

const all = ["q", "k", "v"] as const;
const shape: Shape = { queries: 17, keys: 18, dim: 32, heads: 2, batch: 1, bias: ["h", "query", "key"] };

const shapes: Readonly<Record<string, Shape>> = {
  "a tensor of heads and pairs": { ...shape, gradients: all },
  "one of all heads behind a mask, grouped queries": {
    ...shape,
    ...{ heads: 1, queries: 9, group: 2, bias: ["key", "query"], mask: "causal", gradients: all },
  },
  "one that hides keys, and all of some rows": { ...shape, heads: 1, hides: true, gradients: all },
  "one of softly capped logits": { ...shape, heads: 1, mask: "causal", softcap: 1.5, gradients: all },
  "relative positions with a slope a head": { ...shape, batch: 2, bias: "alibi", mask: "padding" },
  "one of the keys": { ...shape, batch: 2, keys: 33, bias: ["b", "key"], width: 40 },
};

const schedules = [
  ["rows-in-registers", "f32", baselineFacts, 1e-4],
  ["rows-in-registers", "f32", { ...baselineFacts, software: true }, 1e-4],
  ["shared-tiles", "f32", baselineFacts, 2e-4],
  ["subgroup-matrices", "f16", recorded("nvidia-h200"), 1.2e-2],
  ["subgroup-matrices", "f32", recorded("apple-m"), 2e-4],
] as const;

/** What schedules of attention made, all of which Dawn takes. */
async function holds(s: Shape, facts: Parameters<typeof check>[1], tables: lowering.ScheduleTables, tolerance: number) {
  const { program, mistakes } = check(s, facts, tables, tolerance);
  expect(mistakes).toEqual([]);
  const gpu = await validatingDevice();
  for (const { kernel } of attentionKernels(program)) {
    const module = gpu.device.createShaderModule({ code: emitWgsl(kernel) });
    const { messages } = await gpu.settle(module.getCompilationInfo());
    expect([...messages].map((m) => m.message)).toEqual([]);
  }
  return [...new Set(attentionKernels(program).map((k) => k.schedule))];
}

describe.each(schedules)("%s in %s", (name, dtype, facts, tolerance) => {
  const keep = (t: lowering.Settings) => name !== "shared-tiles" || (t.threadsDown === 8 && t.threadsAcross === 8);
  const some = Object.entries(shapes).slice(0, name === "subgroup-matrices" ? 6 : 4);
  it.each(some)("%s", async (_, s) => {
    expect(await holds({ ...s, dtype }, facts, onlyAttention(name, keep), tolerance)).toEqual([name]);
  });
});

describe("few queries", () => {
  const few: Shape = { queries: 2, keys: 130, dim: 32, group: 2, dtype: "f32", bias: ["group", "key"], mask: "causal" };
  it("share a workgroup", async () => {
    expect(
      await holds(
        few,
        baselineFacts,
        onlyAttention("few-rows", () => true),
        1e-4,
      ),
    ).toEqual(["few-rows"]);
  });
  it("take many keys in runs, also where a bias hides all of them", () => {
    for (const more of [{}, { hides: true }, { softcap: 1.5 }]) {
      const s: Shape = { ...few, keys: 700, bias: ["query", "key"], ...more };
      const { program, mistakes } = check(s, baselineFacts, lowering.scheduleTables, 1e-4);
      expect(mistakes).toEqual([]);
      expect(attentionKernels(program).map((k) => k.name)).toEqual([
        "biased_attention_parts+biased_attention_parts_lse",
      ]);
    }
  });
});

describe("the cotangent of a bias", () => {
  it.each([
    { bias: ["h", "query", "key"], batch: 3 },
    { bias: ["key", "query"], batch: 2, mask: "padding" },
    { bias: ["b", "group", "query", "key"], batch: 2, heads: 1, group: 2, hides: true },
    { bias: ["b", "key"], batch: 2, mask: "causal" },
    { bias: ["h", "key"], group: 3 },
    { bias: ["h", "query"] },
    { bias: "alibi", batch: 2 },
  ] as const)("%j", (more) => {
    const s: Shape = { ...shape, queries: 7, keys: 9, ...more, dim: 8, width: 5, gradients: ["bias"], dtype: "f32" };
    for (const facts of [baselineFacts, { ...baselineFacts, software: true }]) {
      const { mistakes } = check(s, facts, lowering.scheduleTables, 1e-4);
      expect(mistakes).toEqual([]);
    }
  });
});

describe("the cotangent of a bias in tiles", () => {
  it.each([
    { bias: ["h", "query", "key"], batch: 3 },
    { bias: ["key", "query"], mask: "causal", batch: 2, queries: 33 },
    { bias: ["group", "query", "key"], heads: 1, batch: 2, group: 2, hides: true },
    { bias: ["b", "query", "key"], batch: 2, mask: "padding" },
  ] as const)("%j", async (more) => {
    const s: Shape = { ...shape, ...more, width: 20, gradients: ["bias"] };
    const [tiles, rest] = [
      onlyAttention("pair-tiles", (t) => t.threadsDown === 4 || t.threadsAcross === 8),
      lowering.scheduleTables,
    ];
    const schedules = [...tiles.attention.schedules, ...rest.attention.schedules];
    const tables = { ...rest, attention: { ...rest.attention, schedules } };
    const enough = { ...baselineFacts, maxBindings: 9 };
    for (const [dtype, facts, tolerance] of [
      ["f32", enough, 1e-4],
      ["f16", recorded("nvidia-h200"), 1.2e-2],
    ] as const)
      expect(await holds({ ...s, dtype }, facts, tables, tolerance)).toContain("pair-tiles");
  });
});

it("a bias is no tensor where it is an expression, and the only one of pairs where it is given", () => {
  for (const bias of ["alibi", ["h", "query", "key"]] as const) {
    const s: Shape = { ...shape, queries: 65, keys: 129, bias, dtype: "f32", gradients: all };
    const roots = compileKernels(attentionGraph(s)).kernels.flatMap((k) => k.bindings.map((b) => b.root));
    const ofPairs = new Set(roots.filter((n) => ["query", "key"].every((x) => n.type.axes.some((a) => a.name === x))));
    expect([...ofPairs].map((n) => n.attrs.name)).toEqual(bias === "alibi" ? [] : ["bias"]);
  }
});

it("gradients with a bias and a mask that are both tensors bind nine buffers, and are decomposed where there are eight", () => {
  const s: Shape = { ...shape, mask: "stored", gradients: ["q"], dtype: "f32" };
  const cores = (maxBindings: number) =>
    nodesOf(compileKernels(attentionGraph(s), { ...baselineFacts, maxBindings }).graph).filter(
      (n) => opRecord(n.op).core?.kind === "attention" && n.operands.length > 5,
    ).length;
  expect([cores(8), cores(9)]).toEqual([0, 1]);
  expect(check(s, baselineFacts, lowering.scheduleTables, 1e-4).mistakes).toEqual([]);
});
