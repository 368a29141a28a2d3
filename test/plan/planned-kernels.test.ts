/**
 * Kernels planned short of their code are those that a compile makes, and a step's operations are those counted by
 * hand.
 */
import { describe, expect, it } from "vitest";
import { recordOf } from "../../cli/plan/hardware-text.ts";
import { updateOperations } from "../../cli/stage-figures.ts";
import {
  bindSizes,
  compileKernels,
  countStepOperations,
  dimValue,
  type Graph,
  type Precision,
  planKernels,
} from "../../compiler/index.ts";
import {
  axis,
  batchNorm,
  constantRate,
  defineModel,
  defineStage,
  gather,
  input,
  linear,
  mean,
  mul,
  type Stage,
  type StateUpdate,
  stepMemory,
  symbol,
  trace,
  trainingStep,
  zeros,
} from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";

const { facts } = recordOf("H200");
const batch = axis("batch", symbol("batch"));
const [embed, hidden, vocab] = [axis("embed", 24), axis("hidden", 40), axis("vocab", 5000)];

const step = (more: Partial<Stage> = {}) =>
  trainingStep(
    defineStage({
      name: "s",
      loss: (p) => {
        const x = input("x", "f32", [batch, embed]);
        const y = linear(p.scope("up"), x, [embed], [hidden], { bias: false });
        const z = linear(p.scope("down"), y, [hidden], [embed], { bias: false });
        return { loss: mean(mul(z, z), [batch, embed]) };
      },
      optimizer: { rate: constantRate(1e-3), clip: 1 },
      ...more,
    }),
  );

const stageTwo = (precision: Precision) => {
  const model = bundledModels.find((m) => m.name === "internvl-g")!;
  const { vision, text } = model.config as { vision: object; text: object };
  const config = {
    ...model.config,
    vision: { ...vision, width: 32, depth: 2, heads: 2, mlp: 48, image: 28, patch: 14 },
    text: { ...text, width: 32, depth: 2, heads: 2, mlp: 48, vocab: 61, context: 6, queries: 3 },
    embed: 16,
    poolingHeads: 2,
  };
  return trainingStep({ ...model.stages!["2"]!(config, {}).stage, precision });
};

describe("planned kernels", () => {
  it.each([
    ["a small step", step(), "f32", 17],
    ["stage 2 in f16", stageTwo("f16"), "f16", 5],
    ["stage 2 in f32", stageTwo("f32"), "f32", 8],
  ] as const)("are those of a compile: %s", (_, made, precision, samples) => {
    const graph = bindSizes(made.graph, { batch: samples });
    const planned = planKernels(graph, facts, { precision });
    const program = compileKernels(graph, facts, { precision });
    const figures = planned.kernels.map((k) => [k.name, k.kind, k.schedule, k.flops, k.bytesWritten]);
    expect(figures).toEqual(
      program.kernels.map((k) => [k.name, k.kind, k.schedule, dimValue(k.flops), dimValue(k.bytesWritten)]),
    );
    expect(stepMemory(made, [planned.bound])).toEqual(stepMemory(made, [program]));
    expect(planned.kernels.some((k) => k.updates)).toBe(true);
    // What a kernel writes in place it reads as well, which a compile does not count.
    const products = program.kernels.flatMap((k, i) =>
      k.kind === "contraction" ? [[k, planned.kernels[i]!] as const] : [],
    );
    for (const [made, k] of products) expect(k.bytesRead, k.name).toBeGreaterThanOrEqual(dimValue(made.bytesRead));
  });

  it("leave sizes open where they are given beside the graph", () => {
    const { graph } = step();
    const open = planKernels(graph, facts, { sizes: { batch: 9 } });
    const bytes = (g: Graph, samples: number) =>
      planKernels(g, facts, { sizes: { batch: samples } }).kernels.reduce((n, k) => n + k.bytesWritten, 0);
    expect(open.kernels.length).toBeGreaterThan(0);
    expect(bytes(graph, 18) - bytes(graph, 9)).toBe(bytes(graph, 27) - bytes(graph, 18));
  });

  it("read of a table no more than they pick from it", () => {
    const { graph } = pickingModel();
    const [picked] = planKernels(bindSizes(graph, { batch: 3 }), facts).kernels;
    expect(picked!.bytesRead).toBe(3 * 4 + 3 * 24 * 4);
    expect(picked!.bytesWritten).toBe(3 * 24 * 4);
  });
});

function pickingModel() {
  const model = defineModel({
    name: "picking",
    summary: "rows of a table",
    config: {},
    build: (p) => ({ rows: gather(p.parameter("table", [vocab, embed], zeros), input("ids", "i32", [batch]), vocab) }),
  });
  return { graph: trace(model, {}, {}) };
}

describe("operations of a step", () => {
  const product = 24 * 40;

  it("are two products forward and three backward: none for the input", () => {
    const { forward, backward, update } = countStepOperations(step().graph, { batch: 10 });
    expect(forward.macs).toBe(2 * 10 * product);
    expect(backward.macs).toBe(3 * 10 * product);
    expect(update.macs).toBe(0);
    expect(update.flops).toBeGreaterThan(2 * product);
    expect(forward.flops).toBeGreaterThanOrEqual(2 * forward.macs);
  });

  it("are one less for a weight that is frozen and has nothing trained below it", () => {
    const { backward } = countStepOperations(step({ trainable: ["down.**"] }).graph, { batch: 10 });
    expect(backward.macs).toBe(10 * product);
  });

  it("of layers past a batch norm are those of each micro-batch's share", () => {
    const made = step({
      accumulate: 3,
      loss: (p) => {
        const updates: StateUpdate[] = [];
        const y = linear(p.scope("up"), input("x", "f32", [batch, embed]), [embed], [hidden], { bias: false });
        const normed = batchNorm(p.scope("norm"), y, hidden, { updates });
        const z = linear(p.scope("down"), normed, [hidden], [embed], { bias: false });
        return { loss: mean(mul(z, z), [batch, embed]), updates };
      },
    });
    const { forward, backward, update } = updateOperations(made, { batch: 10 }, 3);
    expect(forward.macs).toBe(3 * 10 * product);
    // The gradient of the features' layer; the other layer, and its gradients for weights and operand.
    expect(backward.macs).toBe(3 * 10 * (1 + 1 + 2) * product);
    expect(update.macs).toBe(0);
  });

  it("of accumulation are those of each micro-batch and one update", () => {
    const made = step({ accumulate: 3 });
    const one = countStepOperations(made.graph, { batch: 10 });
    const { forward, backward, update } = updateOperations(made, { batch: 10 }, 3);
    expect([forward.macs, backward.macs]).toEqual([3 * one.forward.macs, 3 * one.backward.macs]);
    // Three sums of each gradient, and the rule once.
    expect(update.flops).toBeGreaterThan(3 * one.update.flops);
    expect(update.flops).toBeLessThan(
      3 * one.update.flops + countStepOperations(step().graph, { batch: 10 }).update.flops * 1.5,
    );
  });
});
