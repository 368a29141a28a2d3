/**
 * Exported decoders as other programs run them: ids as int64, a past that begins empty and grows, texts as heddle
 * writes them.
 */
import { createRequire } from "node:module";
import type * as Ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { encodeOnnx, exportOnnx, printOnnx } from "../../backends/onnx/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type Graph, type HostTensor, hostTensor, inputName, type SizedAxis } from "../../compiler/index.ts";
import { type Model, trace } from "../../dsl/index.ts";
import { type ChatConfig, imageToken, visualTokenCount } from "../../models/index.ts";
import { randomStream } from "../../runtime/index.ts";
import { randomWeights } from "../cli/support.ts";
import tinyChat from "../cli/tiny-chat.ts";
import tinyG from "../cli/tiny-generative.ts";
import { writeGreedily } from "../models/greedy.ts";

const ort = createRequire(import.meta.url)("onnxruntime-node") as typeof Ort;
type Tensors = Record<string, Ort.Tensor>;

/** Weights of all graphs of a model, its scores of next tokens far apart. */
function weightsOf(...graphs: readonly Graph[]): Map<string, HostTensor> {
  const weights = new Map(graphs.flatMap((g) => [...randomWeights(g)]));
  for (const [name, { data }] of weights) if (name.endsWith("lm_head.weight")) data.set(data.map((v) => v * 80));
  return weights;
}

async function open(graph: Graph, weights: ReadonlyMap<string, HostTensor>): Promise<Ort.InferenceSession> {
  const bytes = await encodeOnnx(exportOnnx(graph, { ids: "int64" }), (p) => weights.get(inputName(p)));
  return await ort.InferenceSession.create(bytes, { logSeverityLevel: 4, intraOpNumThreads: 1 });
}

const long = (values: readonly number[]): Ort.Tensor =>
  new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
const numbers = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

/** What a decoder is fed besides the past: tokens after `past` others, none of them padding. */
function tokens(ids: readonly number[], past: number): Tensors {
  const mask = numbers(0, past + ids.length).map(() => 1);
  return { input_ids: long(ids), attention_mask: long(mask), position_ids: long(numbers(past, ids.length)) };
}

const emptyPast = (session: Ort.InferenceSession, heads: number, width: number): Tensors =>
  Object.fromEntries(
    session.inputNames
      .filter((n) => n.startsWith("past_key_values."))
      .map((n) => [n, new ort.Tensor("float32", new Float32Array(0), [1, heads, 0, width])]),
  );

const asPast = (out: Ort.InferenceSession.ReturnType): Tensors =>
  Object.fromEntries(
    Object.entries(out)
      .filter(([n]) => n.startsWith("present."))
      .map(([n, t]) => [n.replace("present", "past_key_values"), t as Ort.Tensor]),
  );

function likeliest({ data, dims }: Ort.Tensor): number {
  const last = Array.from(data as Float32Array).slice(-dims.at(-1)!);
  return last.indexOf(Math.max(...last));
}

/** Inputs that a session has, so that one set of feeds serves graphs with and without a mask. */
const asked = (session: Ort.InferenceSession, feeds: Tensors): Tensors =>
  Object.fromEntries(session.inputNames.map((n) => [n, feeds[n]!]));

const chat = tinyChat as Model<ChatConfig>;
const decode = trace(chat, {}, { graph: "decode" });
const pixels = (size: number): { data: Float32Array; axes: SizedAxis[] } => {
  const axes = [1, 3, size, size].map((size, i) => ({ name: ["batch", "channel", "row", "column"][i]!, size }));
  return { data: randomStream(3, "pixels").fill({ kind: "normal", mean: 0, std: 1 }, 3 * size * size), axes };
};

describe("an exported decoder", () => {
  const beginning = trace(chat, {}, { graph: "text-prefill" });
  const weights = weightsOf(decode, beginning);

  it("takes ids, mask and positions as int64, and names everything as the field does", () => {
    const text = printOnnx(exportOnnx(decode, { ids: "int64" }).model);
    expect(text).toContain("input_ids: i64[batch=batch, token=tokens]");
    expect(text).toContain("attention_mask: i64[batch=batch, key_token=past+tokens]");
    expect(text).toContain("position_ids: i64[batch=batch, token=tokens]");
    expect(text).toContain("past_key_values.1.value: f32[batch=batch, heads=2, key_token=past, head_dim=8]");
    expect(text).toContain("present.1.value: f32[batch=batch, heads=2, key_token=past+tokens, head_dim=8]");
    expect(printOnnx(exportOnnx(decode).model)).toContain("input_ids: i32[");
  });

  it("begins a text with a past of no tokens, as a prefill does", async () => {
    const [step, first] = [await open(decode, weights), await open(beginning, weights)];
    const ids = [1, 70, 9, 200, 33];
    const want = await first.run(tokens(ids, 0));
    const got = await step.run({ ...tokens(ids, 0), ...emptyPast(step, 2, 8) });
    expect(got.logits!.dims).toEqual([1, 5, 259]);
    expect(likeliest(got.logits!)).toBe(likeliest(want.logits!));
    for (const name of first.outputNames.filter((n) => n !== "logits")) {
      expect(got[name]!.dims).toEqual([1, 2, 5, 8]);
      expect(Array.from(got[name]!.data as Float32Array)).toEqual(
        Array.from(want[name]!.data as Float32Array, (v) => expect.closeTo(v, 5)),
      );
    }
  });

  it("says the same whether tokens come at once or one after the other", async () => {
    const step = await open(decode, weights);
    const ids = [1, 70, 9, 200, 33, 12];
    const whole = await step.run({ ...tokens(ids, 0), ...emptyPast(step, 2, 8) });
    let out = await step.run({ ...tokens(ids.slice(0, 1), 0), ...emptyPast(step, 2, 8) });
    for (let at = 1; at < ids.length; at++) {
      out = await step.run({ ...tokens(ids.slice(at, at + 1), at), ...asPast(out) });
    }
    const last = Array.from(whole.logits!.data as Float32Array).slice(-259);
    expect(Array.from(out.logits!.data as Float32Array)).toEqual(last.map((v) => expect.closeTo(v, 3)));
  });
});

describe.each([
  {
    name: "a chat",
    model: chat as unknown as Model,
    ids: [1, 40, ...numbers(0, visualTokenCount(chat.config)).map(() => imageToken), 41, 42],
    image: chat.config.vision.image,
  },
  { name: "a caption", model: tinyG as unknown as Model, ids: [1, 80, 90], image: tinyG.config.vision.image },
])("$name by exported files", ({ model, ids, image }) => {
  it("has the tokens that heddle writes", async () => {
    const graphs = { prefill: trace(model, {}, { graph: "prefill" }), step: trace(model, {}, { graph: "decode" }) };
    const weights = weightsOf(graphs.prefill, graphs.step);
    const picture = pixels(image);
    const prompt = [
      { name: "batch", size: 1 },
      { name: "token", size: ids.length },
    ];
    const reference = { name: "reference", make: referenceBackend, tolerance: 0 };
    const feeds = { pixels: hostTensor("f32", picture.axes, picture.data), input_ids: hostTensor("i32", prompt, ids) };
    const writer = { ...graphs, prefillWeights: weights, stepWeights: weights };
    const want = await writeGreedily(reference, writer, feeds, 6);

    const [first, step] = [await open(graphs.prefill, weights), await open(graphs.step, weights)];
    const given = {
      ...tokens(ids, 0),
      pixels: new ort.Tensor(
        "float32",
        picture.data,
        picture.axes.map((a) => a.size),
      ),
    };
    let out = await first.run(asked(first, given));
    const written = [likeliest(out.logits!)];
    while (written.length < 6) {
      const past = out["present.0.key"]!.dims[2]!;
      out = await step.run({ ...tokens(written.slice(-1), past), ...asPast(out) });
      written.push(likeliest(out.logits!));
    }
    expect(written).toEqual(want.ids[0]);
    expect(new Set(written).size).toBeGreaterThan(1);
  });
});
