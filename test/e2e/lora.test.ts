/** Low-rank updates: what is learned, by which gradient, and that the weights written are those of the plain model. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { evaluate, referenceBackend } from "../../backends/reference/index.ts";
import { bindSizes, hostTensor, inputName, makeGraph, type Node, normal } from "../../compiler/index.ts";
import {
  axis,
  constantRate,
  crossEntropy,
  defineStage,
  gather,
  input,
  linear,
  mean,
  mul,
  type Params,
  rootParams,
  type Stage,
  scale,
  sum,
  tanh,
  trainingStep,
} from "../../dsl/index.ts";
import { stageOneLoss } from "../../models/index.ts";
import { initialValue, openSafetensors, train } from "../../runtime/index.ts";
import { halfKernels } from "../support/half-kernels.ts";
import { tinyConfig, tinyFeeds, tinyJob } from "../support/tiny-job.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-lora-"));
afterAll(() => rmSync(root, { recursive: true }));
let runs = 0;
const folder = () => mkdtempSync(join(root, `run${runs++}-`));

const elements = (nodes: readonly Node[]) =>
  nodes.reduce((n, { type }) => n + type.axes.reduce((k, a) => k * Number(a.size), 1), 0);
const names = (nodes: readonly Node[]) => nodes.map(inputName).sort();

describe("two linears with an update each", () => {
  const [row, from, hidden, heads, to] = [
    axis("row", 3),
    axis("from", 5),
    axis("hidden", 4),
    axis("heads", 2),
    axis("to", 3),
  ];
  /** 5 -> 4 -> 2 × 3; the second has several axes on one side. */
  const loss = (p: Params) => {
    const x = input("x", "f32", [row, from]);
    const h = tanh(linear(p.scope("first"), x, [from], [hidden]));
    const y = linear(p.scope("second"), h, [hidden], [heads, to]);
    return { loss: sum(mul(y, tanh(y)), [row, heads, to]) };
  };
  const stepOf = (changes: Partial<Stage>) =>
    trainingStep(defineStage({ name: "s", loss, optimizer: { rate: constantRate(0.1) }, ...changes }));
  const lora = { pattern: "**", rank: 2, alpha: 3 };

  it("train rank · (in + out) elements each, and nothing else", () => {
    const { trained, frozen, adapters } = stepOf({ lora });
    expect(elements(trained)).toBe(2 * (5 + 4) + 2 * (4 + 6));
    expect(names(trained)).toEqual(["first.lora_a", "first.lora_b", "second.lora_a", "second.lora_b"]);
    expect(names(frozen)).toEqual(["first.bias", "first.weight", "second.bias", "second.weight"]);
    expect(adapters.map((a) => [a.weight, a.scale])).toEqual([
      ["first.weight", 1.5],
      ["second.weight", 1.5],
    ]);
  });

  it("train what is trainable besides, but never a weight that has an update", () => {
    const { trained, frozen } = stepOf({ lora: { ...lora, pattern: ["**", "!second"] }, trainable: ["**"] });
    expect(names(frozen)).toEqual(["first.weight"]);
    expect(names(trained)).toEqual(["first.bias", "first.lora_a", "first.lora_b", "second.bias", "second.weight"]);
  });

  it("have the gradient that finite differences have, at any A and B", () => {
    const { graph, arenas } = stepOf({ lora });
    const [name, { size }] = [arenas[0]!.parameters, arenas[0]!.layout];
    let seed = 1;
    const draw = () => Math.sin(seed++ * 12.9898) * 0.8;
    const values = new Map(
      graph.inputs.map((n) => [inputName(n), Float64Array.from({ length: elements([n]) }, draw)] as const),
    );
    values.set("train.step", Float64Array.of(0));
    values.set(arenas[0]!.state.square!, new Float64Array(size));
    const run = (parameters: Float64Array) => evaluate(graph, new Map([...values, [name, parameters]]));
    const at = values.get(name)!;
    let squares = 0;
    for (let i = 0; i < at.length; i++) {
      const moved = (by: number) => run(at.map((v, k) => (k === i ? v + by : v))).get("loss")!.data[0]!;
      squares += ((moved(1e-5) - moved(-1e-5)) / 2e-5) ** 2;
    }
    expect(run(at).get("gradient_norm")!.data[0]).toBeCloseTo(Math.sqrt(squares), 6);
  });

  it("follow the rate and the decay of their weights", () => {
    const asked: string[] = [];
    stepOf({ lora, optimizer: { rate: constantRate(0.1), decays: (n) => asked.push(n) > 0 } });
    expect([...new Set(asked)].sort()).toEqual(["first.weight", "second.weight"]);
  });

  it.each([
    [{ ...lora, pattern: "third" }, 'stage "s": lora: the pattern "third" matches no linear'],
    [{ ...lora, pattern: ["first", "!**"] }, 'stage "s": lora: first, !** selects no linear'],
    [{ ...lora, rank: 1.5 }, 'stage "s": the rank of lora must be a positive integer, got 1.5'],
    [{ ...lora, alpha: 0 }, 'stage "s": the alpha of lora must be a positive number, got 0'],
  ])("refuse %j", (wrong, text) => {
    expect(() => stepOf({ lora: wrong })).toThrow(text);
  });
});

describe("a table that is a linear's weight as well", () => {
  const [row, vocab, embed] = [axis("batch", 3), axis("vocab", 37), axis("embed", 48)];
  const loss = (p: Params) => {
    const init = normal(0.1);
    const table = p.scope("tied").parameter("weight", [vocab, embed], init);
    const x = linear(p.scope("between"), gather(table, input("ids", "i32", [row]), vocab), [embed], [embed]);
    const y = linear(p.shared().scope("tied"), x, [embed], [vocab], { bias: false, init });
    // Its gradients are beyond f16 until the scale of the loss was halved a few times.
    return { loss: scale(mean(crossEntropy(y, input("label", "i32", [row]), vocab), row), 1000) };
  };
  const stage = (changes: Partial<Stage>) =>
    trainingStep(defineStage({ name: "s", loss, optimizer: { rate: constantRate(0.1) }, ...changes }));

  it("has no update: rows that are looked up would not have it", () => {
    expect(() => stage({ lora: { pattern: "**", rank: 2 } })).toThrow(
      /lora: "tied\.weight" is also used by gather at .*lora\.test\.ts:\d+:\d+.*exclude it with "!tied"/,
    );
  });

  it("is frozen in int8 below an update of more rank than width, with averages and skipped steps, and goes on bit for bit", async () => {
    const step = stage({
      lora: { pattern: ["**", "!tied"], rank: 64, alpha: 5 },
      ...{ frozen: "int8", precision: "f16", ema: { decay: 0.8 }, accumulate: 2 },
      optimizer: { rate: constantRate(0.1), clip: 1 },
    });
    expect(step.frozenAs!.quantized.map((q) => q.parameter)).toContain("between.weight");
    const ids = (at: number) =>
      hostTensor("i32", [{ name: "batch", size: 3 }], [at % 37, (7 * at) % 37, (11 * at) % 37]);
    const job = (steps: number) => ({
      ...tinyJob(steps, { step }),
      ...{ sizes: {}, checkpointEvery: 1 },
      async *batches(cursor: unknown) {
        for (let at = (cursor as number | undefined) ?? 0; ; at++)
          yield { feeds: { ids: ids(at), label: ids(at + 1) }, next: at + 1 };
      },
    });
    const options = { backend: halfKernels(), note: () => {} };
    const [whole, at] = [await train(job(5), { folder: folder(), ...options }), folder()];
    await train(job(2), { folder: at, ...options });
    const resumed = await train(job(5), { folder: at, ...options, resume: true });
    const skipped = readFileSync(join(at, "metrics.jsonl"), "utf8").match(/"skipped":\d/g);
    expect(skipped).toEqual([1, 1, 1, 0, 0].map((n) => `"skipped":${n}`));
    expect(resumed.losses).toEqual(whole.losses);
    expect(resumed.weights).toEqual(whole.weights);
  });
});

describe("a run with updates", () => {
  const stage = (changes: Partial<Stage> = {}) =>
    defineStage({
      name: "tiny",
      loss: (p) => ({ loss: stageOneLoss(p, noDrop).loss }),
      optimizer: { rate: constantRate(0.05), weightDecay: 0.1 },
      lora: { pattern: ["**.self_attn.*", "**.attn.qkv"], rank: 3 },
      ...changes,
    });
  const noDrop = { ...tinyConfig, vision: { ...tinyConfig.vision, dropPath: 0 } };
  const job = (steps: number, changes: Partial<Stage> = {}) => tinyJob(steps, { step: trainingStep(stage(changes)) });
  const run = (steps: number, at = folder(), resume = false) =>
    train(job(steps), { folder: at, backend: referenceBackend(), note: () => {}, resume });

  it("begins as the plain model, and leaves weights with which the plain model is what was trained", async () => {
    const { weights, losses, weightsFile } = await run(3);
    const { loss } = stageOneLoss(rootParams({ training: true }), noDrop);
    const plain = bindSizes(makeGraph("plain", [{ name: "loss", node: loss }]), { batch: 4 });
    const parameters = plain.inputs.filter((n) => n.op === "parameter");
    expect([...weights.keys()].sort()).toEqual(names(parameters));
    const reader = await openSafetensors(weightsFile);
    expect([...reader.tensors.keys()].sort()).toEqual(names(parameters));
    await reader.dispose();

    const lossAt = (value: (n: Node) => ArrayLike<number>, position: number) => {
      const feeds = Object.entries(tinyFeeds(position)).map(([n, t]) => [n, Float64Array.from(t.data)] as const);
      const all = new Map([...feeds, ...parameters.map((n) => [inputName(n), Float64Array.from(value(n))] as const)]);
      return evaluate(plain, all).get("loss")!.data[0]!;
    };
    const first = (n: Node) => initialValue(n, 3).data as Float32Array;
    expect(losses[0]!.loss).toBeCloseTo(lossAt(first, 0), 9);
    const four = await run(4); // its fourth loss is that of the weights after three steps
    expect(four.losses[3]!.loss).toBeCloseTo(
      lossAt((n) => weights.get(inputName(n))!.data, 3),
      5,
    );

    for (const n of parameters) {
      const [same, name] = [first(n).every((v, i) => v === weights.get(inputName(n))!.data[i]), inputName(n)];
      expect([name, same]).toEqual([name, !/\.self_attn\.\w+\.weight$|\.attn\.qkv\.weight$/.test(name)]);
    }
  });

  it("goes on where it stopped, bit for bit, on cpu", async () => {
    const backend = await cpuBackend({ threads: 1 });
    const options = { backend, note: () => {} };
    const whole = await train(job(4), { folder: folder(), ...options });
    const at = folder();
    await train(job(2), { folder: at, ...options });
    const resumed = await train(job(4), { folder: at, ...options, resume: true });
    expect(resumed.losses).toEqual(whole.losses);
    expect(resumed.weights).toEqual(whole.weights);
    backend.dispose();
  });
});
