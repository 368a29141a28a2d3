/** Whole training steps on the cpu device: a block forward and backward, AdamW over arenas. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { isResident } from "../../backends/feeds.ts";
import { exportOnnx } from "../../backends/onnx/index.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import {
  bindSizes,
  differentiate,
  type Graph,
  type HostTensor,
  inputName,
  makeGraph,
  normal,
  ops,
  type SizedAxis,
} from "../../compiler/index.ts";
import { cosine, defineStage, type TrainingStep, trainingStep } from "../../dsl/index.ts";
import { stageOneLoss } from "../../models/index.ts";
import { draw, excess, seeded } from "../support/samples.ts";
import { reference, tensorFor, throughCpu, throughOnnx } from "./support.ts";

let cpu: Backend;
beforeAll(async () => {
  cpu = await cpuBackend({ threads: 1 });
});
afterAll(() => cpu.dispose());

const [batch, token, embed, heads, width, hidden] = [
  { name: "batch", size: 2 },
  { name: "token", size: 5 },
  { name: "embed", size: 8 },
  { name: "heads", size: 2 },
  { name: "width", size: 4 },
  { name: "hidden", size: 12 },
];
const parameter = (name: string, axes: { name: string; size: number }[]) =>
  ops.parameter(name, "f32", axes, normal(0.2));

/** A pre-norm block with causal and padding masks: one row of the first sample sees no key at all. */
function block(): Graph {
  const x = ops.input("x", "f32", [batch, token, embed]);
  const visible = ops.input("visible", "bool", [batch, { name: "key", size: 5 }]);
  const normed = ops.rmsNorm(x, parameter("norm.weight", [embed]), ["embed"], 1e-6);
  const role = (name: string) =>
    ops.contract(normed, parameter(`attn.${name}.weight`, [heads, width, embed]), ["embed"]);
  const [q, k, v] = [role("q"), ops.rename(role("k"), "token", "key"), ops.rename(role("v"), "token", "key")];
  const causal = ops.le(ops.iota({ name: "key", size: 5 }), ops.iota(token));
  const mask = ops.and(causal, visible);
  const mixed = ops.attention(q, k, v, { dot: "width", over: "key", scale: 0.5 }, mask);
  const attended = ops.contract(mixed, parameter("attn.out.weight", [embed, heads, width]), ["heads", "width"]);
  const y = ops.add(x, ops.mul(attended, parameter("scale", [embed])));
  const middle = ops.add(
    ops.contract(y, parameter("mlp.up.weight", [hidden, embed]), ["embed"]),
    parameter("mlp.up.bias", [hidden]),
  );
  const z = ops.add(y, ops.contract(ops.gelu(middle), parameter("mlp.down.weight", [embed, hidden]), ["hidden"]));
  const loss = ops.reduceMean(ops.mul(z, z), ["batch", "token", "embed"]);
  const graph = makeGraph("block", [{ name: "z", node: z }], [x, visible]);
  const wanted = [...graph.inputs.filter((n) => n.op === "parameter"), x];
  const gradients = differentiate(loss, wanted).map((node, i) => ({ name: `d.${inputName(wanted[i]!)}`, node }));
  return makeGraph("block", [{ name: "z", node: z }, { name: "loss", node: loss }, ...gradients], [x, visible]);
}

function valuesOf(graph: Graph): Map<string, Float64Array> {
  const next = seeded(2);
  const values = new Map(graph.inputs.map((n) => [inputName(n), draw(n.type, { low: -1, high: 1 }, next)]));
  values.set("visible", Float64Array.of(0, 1, 1, 0, 1, 1, 1, 0, 1, 1));
  return values;
}

describe("a transformer block with its gradients", () => {
  const graph = block();
  const values = valuesOf(graph);
  const want = reference(graph, values);
  const check = (got: ReadonlyMap<string, ArrayLike<number>>) => {
    for (const { name } of graph.outputs)
      expect(excess(got.get(name)!, want.get(name)!, 2e-6, 1e-4), name).toBeLessThanOrEqual(0);
  };

  it("on the cpu device", async () => check(await throughCpu(cpu, graph, values)));
  it.each([17, 20, 23, 26])("as a file of opset %i", async (opset) =>
    check(await throughOnnx(graph, values, { opset })),
  );
  it("moves axes only where attention must", () => {
    const { model } = exportOnnx(graph, { opset: 23, dialect: "onnxruntime", residents: "bound" });
    const moved = model.graph!.node!.filter((n) => n.opType === "Transpose");
    // q, k, v and the result, the cotangents of each, and the one number a row that the backward pass keeps.
    expect(moved.length).toBe(9);
  });
});

const config = {
  vision: { width: 16, depth: 1, heads: 2, mlp: 24, image: 8, patch: 4, positions: 0 },
  text: { width: 16, depth: 1, heads: 2, mlp: 24, vocab: 11, context: 6, epsilon: 1e-6, attentionBias: false },
};

function smallStep(): TrainingStep {
  const towers = {
    vision: { ...config.vision, dropPath: 0, dropPathRule: "uniform", layerScale: 0.1 },
    text: { ...config.text, rotaryBase: 10000 },
    embed: 8,
    poolingHeads: 2,
  };
  return trainingStep(
    defineStage({
      name: "small",
      loss: (p) => ({ loss: stageOneLoss(p, towers as Parameters<typeof stageOneLoss>[1]).loss }),
      optimizer: { rate: cosine({ peak: 1e-3, steps: 20, warmup: 2 }), clip: 1, weightDecay: 0.1 },
    }),
  );
}

/** Values for everything that the step reads. */
function startOf(graph: Graph): { feeds: Record<string, HostTensor>; kept: Map<string, HostTensor> } {
  const next = seeded(9);
  const feeds: Record<string, HostTensor> = {};
  const kept = new Map<string, HostTensor>();
  for (const n of graph.inputs) {
    const range = n.type.dtype === "i32" ? { low: 0, high: 10 } : { low: -0.5, high: 0.5 };
    const zero = /mean|square|step/.test(inputName(n));
    const drawn = draw(n.type, range, next);
    const value = tensorFor(n.type.dtype, n.type.axes as SizedAxis[], zero ? drawn.fill(0) : drawn);
    if (isResident(n)) kept.set(inputName(n), value);
    else feeds[inputName(n)] = value;
  }
  return { feeds, kept };
}

async function train(backend: Backend, graph: Graph, steps: number) {
  const { feeds, kept } = startOf(graph);
  const executable = await backend.compile(graph);
  const store = backend.createStore();
  for (const [name, value] of kept) await store.write(name, value);
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) losses.push((await executable.run(feeds, store)).loss!.data[0]!);
  const [parameters, mean, square] = await Promise.all(
    ["parameters", "mean", "square"].map(async (n) => (await store.read(`train.${n}`)).data),
  );
  executable.dispose();
  store.dispose();
  return { losses, parameters: parameters!, mean: mean!, square: square! };
}

describe("training with AdamW over arenas", () => {
  const { graph } = smallStep();
  const bound = bindSizes(graph, { batch: 3 });

  it("takes the same five steps as the interpreter", async () => {
    const [got, want] = [await train(cpu, bound, 5), await train(referenceBackend(), bound, 5)];
    expect(excess(got.losses, want.losses, 1e-5, 1e-5)).toBeLessThanOrEqual(0);
    expect(excess(got.mean, want.mean, 1e-7, 1e-3)).toBeLessThanOrEqual(0);
    expect(excess(got.square, want.square, 1e-9, 1e-3)).toBeLessThanOrEqual(0);
    // Adam divides a gradient by its own size: where that is rounding noise, so is the step.
    const told = Array.from(want.parameters.keys()).filter((i) => want.square[i]! > 1e-12);
    const some = (all: ArrayLike<number>) => told.map((i) => all[i]!);
    expect(told.length).toBeGreaterThan(500);
    expect(excess(some(got.parameters), some(want.parameters), 1e-5, 1e-4)).toBeLessThanOrEqual(0);
    expect(got.losses[4]).toBeLessThan(got.losses[0]!);
  });

  it("reads the parameters of an arena in place", () => {
    const model = exportOnnx(bound, { dialect: "onnxruntime", residents: "bound" });
    const ranges = model.bound.filter((b) => b.tensor === "train.parameters");
    expect(ranges.length).toBeGreaterThan(20);
    const names = new Set(ranges.map((b) => b.name));
    const sliced = model.model.graph!.node!.filter((n) => n.opType === "Slice" && names.has(n.input![0]!));
    expect(sliced).toEqual([]);
  });

  it("is the same whether the batch is bound before or found at the run", async () => {
    const { feeds, kept } = startOf(bound);
    const executable = await cpu.compile(graph);
    const store = cpu.createStore();
    for (const [name, value] of kept) await store.write(name, value);
    const open = (await executable.run(feeds, store)).loss!.data[0]!;
    const closed = (await train(cpu, bound, 1)).losses[0]!;
    expect(Math.abs(open - closed)).toBeLessThan(1e-6);
    executable.dispose();
  });
});
