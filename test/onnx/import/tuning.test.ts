/** Fine-tuning files of torch.onnx, beside PyTorch: weights under their modules' names, ties as ties, equal losses. */
import { mkdirSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { decodeModel, encodeModel } from "../../../backends/onnx/wire/proto.ts";
import { referenceBackend } from "../../../backends/reference/index.ts";
import { type Graph, hostTensor, makeGraph, ops, zeros } from "../../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  applyGraph,
  constantRate,
  crossEntropy,
  defineStage,
  input,
  mean,
  rootParams,
  type Stage,
  sgd,
  trainingStep,
  typed,
} from "../../../dsl/index.ts";
import { train } from "../../../runtime/index.ts";
import { scratch } from "../../cli/support.ts";
import { file, floats, type NodeSpec } from "./small-file.ts";
import { valuesOf } from "./small-layer.ts";

const made = JSON.parse(readFileSync(new URL("../../fixtures/onnx-tuning.json", import.meta.url), "utf8"));
const { rows, tokens, vocab, steps } = made as Record<"rows" | "tokens" | "vocab" | "steps", number>;
const bytesOf = (exporter: string) => new Uint8Array(Buffer.from(made[exporter], "base64"));
const { add, parameter } = ops;
const folder = scratch("onnx-tuning");
afterAll(() => folder.remove());

const ids = (step: number) =>
  Array.from({ length: rows * tokens }, (_, i) => {
    const [b, t] = [Math.floor(i / tokens), i % tokens];
    return (7 * step + 3 * b + 5 * t + step * b) % vocab;
  });

/** The losses of a run that trains what the patterns name. */
async function lossesOf(exporter: string, trainable: readonly string[], name: string): Promise<number[]> {
  const { graph, parameters } = await importOnnx(bytesOf(exporter));
  const values = await valuesOf(parameters);
  const stage = defineStage({
    ...{
      name: "tune",
      trainable,
      optimizer: { rate: constantRate(made.rate), rule: sgd({ momentum: 0.9 }), weightDecay: 0 },
    },
    loss: (p) => {
      const logits: AnyTensor = applyGraph(p, graph).logits!;
      const [batch, token, word] = logits.type.axes as unknown as [Axis, Axis, Axis];
      const each = crossEntropy(logits, input("wanted", "i32", [batch, token]), word);
      return { loss: typed<never>(mean(each, [batch, token] as Axis[])) };
    },
  });
  const axes = [
    { name: "batch", size: rows },
    { name: "token", size: tokens },
  ];
  mkdirSync(folder.at(name));
  await train(
    {
      ...{ step: trainingStep(stage), steps, sizes: { batch: rows, token: tokens }, seed: 1, checkpointEvery: steps },
      initial: async (parameter) => values.get(parameter),
      async *batches() {
        for (let i = 0; ; i++) {
          const wanted = ids(i).map((id) => (2 * id + 1) % vocab);
          const feeds = { ids: hostTensor("i32", axes, ids(i)), wanted: hostTensor("i32", axes, wanted) };
          yield { feeds, next: i + 1 };
        }
      },
    },
    { folder: folder.at(name), backend: referenceBackend(), note: () => {} },
  );
  const lines = readFileSync(folder.at(name, "metrics.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => (JSON.parse(line) as { loss: number }).loss);
}

const apart = (mine: readonly number[], theirs: readonly number[]) =>
  Math.max(...theirs.map((loss, i) => Math.abs(loss - mine[i]!)));

describe.each([
  ["dynamo", "head.weight", "block.down.weight"],
  ["torchscript", "embed.weight", "down.weight"], // its node is "/down/MatMul", in a ModuleDict that is not called
])("a file of torch.onnx (%s)", (exporter, table, down) => {
  it("has each weight under its module's name, a tied one once, and says so", async () => {
    const { parameters, notes } = await importOnnx(bytesOf(exporter));
    const norm = ["norm.bias", "norm.weight"];
    expect([...parameters.keys()].sort()).toEqual(["block.up.bias", "block.up.weight", down, table, ...norm].sort());
    expect(notes.at(-1)).toMatch(/^2 weights whose names the exporter made up are .* such as "block.up.weight", which/);
  });

  it("is trained with PyTorch's losses, wholly and without what a pattern excludes", async () => {
    expect(apart(await lossesOf(exporter, ["**"], `${exporter}-all`), made.losses)).toBeLessThan(1e-6);
    const without = await lossesOf(exporter, ["**", "!block.up.weight"], `${exporter}-without`);
    expect(apart(without, made.withoutUp)).toBeLessThan(1e-6);
  });
});

it("finds ties in external data, and none where one element differs", async () => {
  const { graph } = decodeModel(bytesOf("dynamo"));
  const [table, copy] = ["head.weight", "val_5"].map((name) => graph!.initializer!.find((t) => t.name === name)!);
  const data = Buffer.concat([table!, copy!].map((t) => t.rawData!));
  const split = vocab * 16;
  const at = (offset: number) => ({
    ...{ rawData: undefined, dataLocation: 1 },
    externalData: Object.entries({ location: "w.bin", offset, length: split }).map(([key, v]) => ({
      key,
      value: `${v}`,
    })),
  });
  const initializer = graph!.initializer!.map((t) => ({
    ...t,
    ...(t === table && at(0)),
    ...(t === copy && at(split)),
  }));
  const bytes = encodeModel({ ...decodeModel(bytesOf("dynamo")), graph: { ...graph, initializer } } as never);
  const read = async (held: Uint8Array) => {
    const external = async ({ offset, length }: { offset: number; length: number }) =>
      held.subarray(offset, offset + length);
    return (await importOnnx(bytes, { external })).parameters.size;
  };
  expect(await read(data)).toBe(6);
  data[data.length - 1]! ^= 1;
  expect(await read(data)).toBe(7);
  await expect(importOnnx(bytes)).rejects.toThrow("but only the bytes of the model were given");
});

it("names small quantized weights by paths that stages can declare", async () => {
  const q = { name: "enc/layer:0/W q", dims: [2, 3], dataType: 3, int32Data: [1, 2, 3, 4, 5, 6] };
  const nodes: NodeSpec[] = [
    ["DequantizeLinear", [q.name, "s"], "w"],
    ["MatMul", ["x", "w"], "y"],
  ];
  const { graph, parameters } = await importOnnx(
    file({ x: ["n", 2] }, [q, floats("s", [], [0.5])], nodes, { y: ["n", 3] }),
  );
  expect([...parameters.keys()]).toEqual(["enc.layer_0.W_q"]);
  expect(Object.keys(applyGraph(rootParams(), graph))).toEqual(["y"]);
});

describe("errors of a stage that trains", () => {
  const scalar = (y: AnyTensor) => ({ loss: typed<never>(mean(y, y.type.axes as Axis[])) });
  const step = (graph: Graph, changes: Partial<Stage>) =>
    trainingStep(
      defineStage({
        ...{ name: "s", optimizer: { rate: constantRate(0.1) } },
        ...{ loss: (p) => scalar(Object.values(applyGraph(p, graph))[0]!), ...changes },
      }),
    );

  it("products of an imported graph with LoRA say that they are no linears", async () => {
    const { graph } = await importOnnx(bytesOf("dynamo"));
    const lora = { pattern: "block.up", rank: 2 };
    expect(() => step(graph, { lora })).toThrow('lora: the pattern "block.up" matches no linear: the loss calls none.');
  });

  it("tensors of Constant nodes say that they are buffers", () => {
    const own = parameter("own", "f32", [{ name: "n", size: 2 }], zeros);
    const kept = parameter("kept", "f32", [{ name: "n", size: 2 }], zeros, "buffer");
    const graph = makeGraph("g", [{ name: "y", node: add(own, kept) }]);
    expect(() => step(graph, { trainable: ["kept"] })).toThrow('kept selects only buffers, such as "kept", which no');
  });
});
