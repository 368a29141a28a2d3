/**
 * Graphs that write text token by token: a prefill that reads the prompt (and the image), and a step that continues. Names
 * of inputs and outputs are those that ONNX decoders have (Hugging Face optimum, transformers.js): `input_ids`,
 * `attention_mask`, `position_ids`, `past_key_values.N.key`, `present.N.key`. Sizes `tokens` and `past` are open.
 */
import {
  and,
  axis,
  axisOf,
  causalMask,
  type Dim,
  gt,
  input,
  longer,
  type Params,
  slice,
  symbol,
  type Tensor,
  transpose,
} from "../../dsl/index.ts";
import { type ChatConfig, visualTokens, withImage } from "./chat.ts";
import { visionTokens } from "./contrastive.ts";
import type { GenerativeConfig } from "./generative.ts";
import { pixelsInput, type VisionTokens } from "./internvit.ts";
import {
  type Context,
  decoder,
  type Ids,
  languageHead,
  type Memory,
  type Remembered,
  type TextAxes,
  type TextConfig,
  type TextTokens,
  textAxes,
  tokenEmbedding,
} from "./llama.ts";
import { type QllamaConfig, qllama } from "./qllama.ts";

/** Named outputs of a model. */
export type Outputs = Readonly<Record<string, Tensor<"batch" | "token" | "vocab"> | Remembered>>;

/** How many tokens a cache holds. */
const past = symbol("past");

/** New tokens, their number open. */
const openAxes = (c: TextConfig): TextAxes => textAxes(c, symbol("tokens"));

const idsOf = (a: TextAxes): Ids => input("input_ids", "i32", [a.batch, a.token]);

/** Positions and the mask as inputs: `attention_mask` i32 [batch, key_token] is 0 at padding. */
function givenContext(a: TextAxes, past: Dim): Context {
  const key = longer(axis("key_token", a.token.size), past);
  const real = gt(input("attention_mask", "i32", [a.batch, key]), 0);
  const position = input("position_ids", "i32", [a.batch, a.token]);
  return { position, visible: and(causalMask(a.token, key, past), real), key };
}

/** What is remembered of earlier tokens, as inputs of each layer. */
function pastInputs(a: TextAxes, depth: number): Memory[] {
  const axes = [a.batch, a.heads, axis("key_token", past), a.headDim];
  const one = (i: number, what: string) => input(`past_key_values.${i}.${what}`, "f32", axes);
  return Array.from({ length: depth }, (_, i) => ({ key: one(i, "key"), value: one(i, "value") }));
}

function presentOutputs(memory: readonly Memory[], a: TextAxes): Outputs {
  const lay = (x: Remembered) => transpose(x, [a.batch, a.heads, axisOf(x, "key_token"), a.headDim]);
  const named = memory.flatMap(({ key, value }, i) => [
    [`present.${i}.key`, lay(key)],
    [`present.${i}.value`, lay(value)],
  ]);
  return Object.fromEntries(named);
}

/** Scores after the last token alone: hidden [batch, token, embed] -> [batch, token = 1, vocab] */
function lastLogits(p: Params, hidden: TextTokens, a: TextAxes): Tensor<"batch" | "token" | "vocab"> {
  const token = axisOf(hidden, "token");
  return scores(p, slice(hidden, token, longer(token, -1).size, 1), a);
}

const scores = (p: Params, hidden: TextTokens, a: TextAxes): Tensor<"batch" | "token" | "vocab"> =>
  transpose(languageHead(p, hidden, a), [a.batch, a.token, a.vocab]);

/**
 * The step of any decoder: `input_ids` [batch, token = tokens] after `past` others -> `logits` [batch, token, vocab] and
 * what is remembered of all. `p` is the scope that has `model` and `lm_head`.
 */
export function decodeStep(p: Params, c: TextConfig): Outputs {
  const a = openAxes(c);
  const embedded = tokenEmbedding(p.scope("model"), idsOf(a), a);
  const { last, memory } = decoder(p.scope("model"), embedded, a, c, givenContext(a, past), pastInputs(a, c.depth));
  return { logits: scores(p, last, a), ...presentOutputs(memory, a) };
}

/** The beginning of a text: `input_ids` -> `logits` after the last token and what is remembered. */
export function prefill(p: Params, c: TextConfig): Outputs {
  const a = openAxes(c);
  const embedded = tokenEmbedding(p.scope("model"), idsOf(a), a);
  const { last, memory } = decoder(p.scope("model"), embedded, a, c, givenContext(a, 0));
  return { logits: lastLogits(p, last, a), ...presentOutputs(memory, a) };
}

/** The beginning of a chat: `pixels` and `input_ids` with `imageToken` where the image goes. */
export function chatPrefill(p: Params, c: ChatConfig): Outputs {
  const a = openAxes(c.text);
  const embedded = withImage(p, visualTokens(p, pixelsInput(c.vision), c), idsOf(a), c.text);
  const { last, memory } = decoder(p.scope("model"), embedded, a, c.text, givenContext(a, 0));
  return { logits: lastLogits(p, last, a), ...presentOutputs(memory, a) };
}

/**
 * The beginning of a text by QLLaMA about an image's features: the prompt `input_ids` (padding 0 at the end). The queries
 * come before the prompt, so `present` holds as many tokens more, and positions go on from there.
 */
export function qllamaPrefill(p: Params, vision: VisionTokens, c: QllamaConfig): Outputs {
  const a = openAxes(c);
  const { text, memory } = qllama(p, vision, idsOf(a), c, "generative");
  return { logits: lastLogits(p.scope("qllama"), text, a), ...presentOutputs(memory, a) };
}

/** The beginning of a caption: `pixels` and the prompt `input_ids`, read as `qllamaPrefill` does. */
export const captionPrefill = (p: Params, c: GenerativeConfig): Outputs =>
  qllamaPrefill(p, visionTokens(p, pixelsInput(c.vision), c), c.text);

/** The step of QLLaMA's text: the queries are among what is remembered, so the image is not needed any more. */
export const qllamaStep = (p: Params, c: QllamaConfig): Outputs => decodeStep(p.scope("qllama"), c);

/** The step of a caption. */
export const captionStep = (p: Params, c: GenerativeConfig): Outputs => qllamaStep(p, c.text);
