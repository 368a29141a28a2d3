/** Fine-tuning files of torch.onnx, beside PyTorch: weights under their modules' names, ties as ties, equal losses. */
import { mkdirSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { decodeModel, encodeModel } from "../../../backends/onnx/wire/proto.ts";
import { evaluate, referenceBackend } from "../../../backends/reference/index.ts";
import {
  differentiate,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  makeGraph,
  ops,
  topological,
  zeros,
} from "../../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  applyGraph,
  constantRate,
  crossEntropy,
  defineStage,
  input,
  mean,
  mul,
  type Params,
  rootParams,
  type Stage,
  sgd,
  sub,
  type Tensor,
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

interface Tuned {
  readonly file: Uint8Array;
  /** The run's folder. */
  readonly name: string;
  readonly trainable?: readonly string[];
  readonly loss: (p: Params, graph: Graph) => Tensor<never>;
  readonly sizes: Record<string, number>;
  readonly feeds: (step: number) => Record<string, HostTensor>;
}

/** The losses of a run that trains what the patterns name. */
async function lossesOf({ file, name, trainable = ["**"], loss, sizes, feeds }: Tuned): Promise<number[]> {
  const { graph, parameters } = await importOnnx(file);
  const values = await valuesOf(parameters);
  const optimizer = { rate: constantRate(made.rate), rule: sgd({ momentum: 0.9 }), weightDecay: 0 };
  const stage = defineStage({ name: "tune", trainable, optimizer, loss: (p) => ({ loss: loss(p, graph) }) });
  mkdirSync(folder.at(name));
  await train(
    {
      ...{ step: trainingStep(stage), steps, sizes, seed: 1, checkpointEvery: steps },
      initial: async (parameter) => values.get(parameter),
      async *batches() {
        for (let i = 0; ; i++) yield { feeds: feeds(i), next: i + 1 };
      },
    },
    { folder: folder.at(name), backend: referenceBackend(), note: () => {} },
  );
  const lines = readFileSync(folder.at(name, "metrics.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => (JSON.parse(line) as { loss: number }).loss);
}

/** The losses of the language model. */
function writersLosses(exporter: string, trainable: readonly string[], name: string): Promise<number[]> {
  const axes = [
    { name: "batch", size: rows },
    { name: "token", size: tokens },
  ];
  return lossesOf({
    ...{ file: bytesOf(exporter), name, trainable, sizes: { batch: rows, token: tokens } },
    loss: (p, graph) => {
      const logits: AnyTensor = applyGraph(p, graph).logits!;
      const [batch, token, word] = logits.type.axes as unknown as [Axis, Axis, Axis];
      const each = crossEntropy(logits, input("wanted", "i32", [batch, token]), word);
      return typed<never>(mean(each, [batch, token] as Axis[]));
    },
    feeds: (step) => {
      const wanted = ids(step).map((id) => (2 * id + 1) % vocab);
      return { ids: hostTensor("i32", axes, ids(step)), wanted: hostTensor("i32", axes, wanted) };
    },
  });
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
    expect(apart(await writersLosses(exporter, ["**"], `${exporter}-all`), made.losses)).toBeLessThan(1e-6);
    const without = await writersLosses(exporter, ["**", "!block.up.weight"], `${exporter}-without`);
    expect(apart(without, made.withoutUp)).toBeLessThan(1e-6);
  });
});

it("layers below quantized activations are trained with PyTorch's losses, through the straight-through estimator", async () => {
  const losses = await lossesOf({
    ...{ file: bytesOf("rounded"), name: "rounded", sizes: { batch: rows } },
    loss: (p, graph) => {
      const y: AnyTensor = applyGraph(p, graph).y!;
      const wrong = sub(y, input("wanted", "f32", y.type.axes as unknown as Axis[]));
      return typed<never>(mean(mul(wrong, wrong), y.type.axes as unknown as Axis[]));
    },
    feeds: (step) => {
      const [x, wanted] = made.roundedSteps[step] as [number[], number[]];
      const of = (axis: string, values: number[]) => {
        const axes = [
          { name: "batch", size: rows },
          { name: axis, size: values.length / rows },
        ];
        return hostTensor("f32", axes, values);
      };
      return { x: of("x_dim1", x), wanted: of("axis_1", wanted) };
    },
  });
  expect(apart(losses, made.roundedLosses)).toBeLessThan(1e-6);
});

describe("gradients pass", () => {
  const small = (name: string, dataType: number, value: number) => ({ name, dims: [], dataType, int32Data: [value] });
  const [int8, uint8] = [3, 2];
  const units = [3, -2, 5, 1, -4, 2];
  const stored = [
    floats("w", [2, 3]),
    { name: "v", dims: [3, 2], dataType: int8, int32Data: units },
    ...[floats("hs", [], [0.01]), floats("vs", [], [0.5]), floats("ys", [], [0.1])],
    ...[small("hz", uint8, 99), small("vz", int8, 0), small("yz", uint8, 120)],
  ];
  const below: NodeSpec = ["MatMul", ["x", "w"], "h"];
  const quantized: NodeSpec = ["QuantizeLinear", ["h", "hs", "hz"], "q"];
  const ways: Record<string, readonly NodeSpec[]> = {
    "QuantizeLinear and DequantizeLinear, with a movement between": [
      quantized,
      ["Transpose", ["q"], "turned", { perm: [1, 0] }],
      ["DequantizeLinear", ["turned", "hs", "hz"], "t"],
      ["Transpose", ["t"], "d", { perm: [1, 0] }],
      ["DequantizeLinear", ["v", "vs", "vz"], "m"],
      ["MatMul", ["d", "m"], "y"],
    ],
    QLinearMatMul: [
      quantized,
      ["QLinearMatMul", ["q", "hs", "hz", "v", "vs", "vz", "ys", "yz"], "p"],
      ["DequantizeLinear", ["p", "ys", "yz"], "y"],
    ],
    "DynamicQuantizeLinear and MatMulInteger": [
      ["DynamicQuantizeLinear", ["h"], ["u", "step", "zero"]],
      ["MatMulInteger", ["u", "v", "zero", "vz"], "sums"],
      ["Cast", ["sums"], "f", { to: 1 }],
      ["Mul", ["step", "vs"], "scale"],
      ["Mul", ["f", "scale"], "y"],
    ],
  };

  it.each(Object.entries(ways))("%s, to what is below", async (_, nodes) => {
    const { graph, parameters } = await importOnnx(file({ x: [2, 2] }, stored, [below, ...nodes], { y: [2, 2] }));
    const y = graph.outputs[0]!.node;
    const weight = topological([y]).find((n) => inputName(n) === "w")!;
    const [slope] = differentiate(
      ops.reduceSum(
        y,
        y.type.axes.map((a) => a.name),
      ),
      [weight],
    );
    const values = await valuesOf(parameters);
    const feeds = new Map([...values].map(([name, { data }]) => [name, Float64Array.from(data as Float32Array)]));
    feeds.set("x", Float64Array.of(0.5, -0.25, 0.125, 0.75));
    const found = evaluate(makeGraph("slope", [{ name: "w", node: slope! }]), feeds).get("w")!;
    const rowSums = [0, 1, 2].map((j) => 0.5 * (units[2 * j]! + units[2 * j + 1]!));
    const wanted = [0.625, 0.5].flatMap((sum) => rowSums.map((r) => sum * r));
    expect([...found.data].map((v, i) => Math.abs(v - wanted[i]!)).every((d) => d < 1e-6)).toBe(true);
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
