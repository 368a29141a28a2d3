/**
 * Decoders of somebody's own: without positions, with a sliding window, and without a look at what of the cache is
 * there.
 */
import { describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { hostTensor, inputName, isParameter } from "../../compiler/index.ts";
import {
  and,
  attention,
  axis,
  cast,
  decoderInputs,
  defineModel,
  embedding,
  input,
  keyDistance,
  type LayerMemory,
  lastOf,
  linear,
  lt,
  newTokens,
  type Params,
  presentOutputs,
  scale,
  type Tensor,
  type TokenContext,
  trace,
  transpose,
  wholeTexts,
  withPast,
} from "../../dsl/index.ts";
import { cachedSession, createSession, deviceModel, initialValue } from "../../runtime/index.ts";
import { difference } from "../models/support.ts";
import { parametersOf } from "./support.ts";

const axesOf = (token = newTokens()) => ({
  ...{ batch: axis("batch", "batch"), token, embed: axis("embed", 6), heads: axis("heads", 2) },
  ...{ headDim: axis("head_dim", 3), vocab: axis("vocab", 11) },
});
type Axes = ReturnType<typeof axesOf>;

/** What attention looks at: visible keys, those at most one token away and by distance (ALiBi), or all. */
type Look = "mask" | "window" | "blind";

/** One layer of attention, whose order is that of the mask alone. */
function layer(
  p: Params,
  ids: Tensor<"batch" | "token">,
  a: Axes,
  context: TokenContext,
  past?: LayerMemory,
  look: Look = "mask",
) {
  const x = embedding(p.scope("tokens"), ids, a.vocab, a.embed);
  const project = (name: string) => linear(p.scope(name), x, [a.embed], [a.heads, a.headDim]);
  const key = withPast(project("k"), a.token, context.key, past?.key);
  const value = withPast(project("v"), a.token, context.key, past?.value);
  const over = { dot: a.headDim, over: context.key };
  const distance = keyDistance(context);
  const near = { ...over, bias: scale(cast(distance, "f32"), -0.4) };
  const mixed = {
    mask: () => attention(project("q"), key, value, over, context.visible),
    window: () => attention(project("q"), key, value, near, and(context.visible, lt(distance, 2))),
    blind: () => attention(project("q"), key, value, over),
  }[look]();
  const scores = linear(p.scope("head"), mixed, [a.heads, a.headDim], [a.vocab]);
  return { logits: transpose(scores, [a.batch, a.token, a.vocab]), memory: [{ key, value }] };
}

const step = (p: Params, look: Look) => {
  const a = axesOf();
  const { ids, context, past } = decoderInputs(a, 1, "step");
  const { logits, memory } = layer(p, ids, a, context, past[0], look);
  return { logits, ...presentOutputs(memory, a) };
};

/** A prefill with scores of all tokens, or of the last alone. */
const beginning = (p: Params, all: boolean) => {
  const a = axesOf();
  const { ids, context } = decoderInputs(a, 1, "beginning");
  const { logits, memory } = layer(p, ids, a, context);
  return { logits: all ? logits : lastOf<"batch" | "vocab">(logits), ...presentOutputs(memory, a) };
};

const whole = (p: Params, look: Look) => {
  const a = axesOf(axis("token", "token"));
  const ids = input("ids", "i32", [a.batch, a.token]);
  return { logits: layer(p, ids, a, wholeTexts(ids, a.token, -1), undefined, look).logits };
};

const model = defineModel({
  name: "bag",
  summary: "",
  config: {},
  build: (p) => whole(p, "mask"),
  graphs: {
    step: { summary: "", build: (p) => step(p, "mask") },
    near: { summary: "", build: (p) => whole(p, "window") },
    nearStep: { summary: "", build: (p) => step(p, "window") },
    blind: { summary: "", build: (p) => step(p, "blind") },
    beginning: { summary: "", build: (p) => beginning(p, false) },
    beginningOfAll: { summary: "", build: (p) => beginning(p, true) },
  },
});

const parameters = trace(model).inputs.filter(isParameter);
const weights = new Map(parameters.map((n) => [inputName(n), initialValue(n, 3)]));

describe("a step", () => {
  it.each([
    ["without positions", false, "step", {}],
    ["with a sliding window and a bias by distance", true, "nearStep", { graph: "near" }],
  ])("%s scores as the whole text read again", async (_, reads, step, wholeText) => {
    const graph = trace(model, {}, { graph: step });
    expect(graph.inputs.map(inputName).includes("position_ids")).toBe(reads);
    const session = cachedSession(deviceModel(referenceBackend(), parametersOf(weights)), graph, { rows: 2 });
    const again = await createSession(referenceBackend(), trace(model, {}, wholeText), weights);
    const texts = [
      [1, 4, 9],
      [7, 2],
    ];
    let scores = await session.step(texts);
    for (const next of [
      [3, 3],
      [10, 0],
      [5, 8],
    ]) {
      for (const [row, ids] of texts.entries()) {
        const axes = [
          { name: "batch", size: 1 },
          { name: "token", size: ids.length },
        ];
        const { logits } = await again.run({ ids: hostTensor("i32", axes, [...ids]) });
        expect(difference(scores.subarray(row * 11, row * 11 + 11), logits!.data.slice(-11))).toBeLessThan(1e-6);
        ids.push(next[row]!);
      }
      scores = await session.step(next.map((id) => [id]));
    }
  });

  it("that does not read what of the cache is there is refused", () => {
    const device = deviceModel(referenceBackend(), parametersOf(weights));
    expect(() => cachedSession(device, trace(model, {}, { graph: "blind" }), { rows: 1 })).toThrow(
      /@bag\.blind is not a decoder step: it does not read attention_mask/,
    );
  });
});

describe("a prefill", () => {
  it.each(["beginning", "beginningOfAll"])("is read at the last token: %s", async (name) => {
    const device = deviceModel(referenceBackend(), parametersOf(weights));
    const session = cachedSession(device, trace(model, {}, { graph: "step" }), { rows: 1, capacity: 4 });
    const axes = [
      { name: "batch", size: 1 },
      { name: "token", size: 3 },
    ];
    const ids = hostTensor("i32", axes, [1, 4, 9]);
    const scores = await session.begin(trace(model, {}, { graph: name }), { input_ids: ids });
    const again = await createSession(referenceBackend(), trace(model), weights);
    const { logits } = await again.run({ ids });
    expect(difference(scores, logits!.data.slice(-11))).toBeLessThan(1e-6);
  });
});
