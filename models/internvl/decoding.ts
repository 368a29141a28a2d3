/**
 * Graphs that write text token by token: a prefill that reads the prompt (and the image), and a step that continues. Names
 * of inputs and outputs are those that ONNX decoders have (Hugging Face optimum, transformers.js): `input_ids`,
 * `attention_mask`, `position_ids`, `past_key_values.N.key`, `present.N.key`. Sizes `tokens` and `past` are open.
 */
import {
  decoderInputs,
  lastOf,
  newTokens,
  type Params,
  presentOutputs,
  type Remembered,
  type Tensor,
  transpose,
} from "../../dsl/index.ts";
import { type ChatConfig, visualTokens, withImage } from "./chat.ts";
import { visionTokens } from "./contrastive.ts";
import type { GenerativeConfig } from "./generative.ts";
import { pixelsInput, type VisionTokens } from "./internvit.ts";
import {
  decoder,
  languageHead,
  type TextAxes,
  type TextConfig,
  type TextTokens,
  textAxes,
  tokenEmbedding,
} from "./llama.ts";
import { type QllamaConfig, qllama } from "./qllama.ts";

/** Named outputs of a model. */
export type Outputs = Readonly<Record<string, Tensor<"batch" | "token" | "vocab"> | Remembered>>;

/** New tokens, their number open. */
const openAxes = (c: TextConfig): TextAxes => textAxes(c, newTokens().size);

/** Scores after the last token alone: hidden [batch, token, embed] -> [batch, token = 1, vocab] */
const lastLogits = (p: Params, hidden: TextTokens, a: TextAxes, c: TextConfig): Tensor<"batch" | "token" | "vocab"> =>
  scores(p, lastOf<"batch" | "embed">(hidden), a, c);

const scores = (p: Params, hidden: TextTokens, a: TextAxes, c: TextConfig): Tensor<"batch" | "token" | "vocab"> =>
  transpose(languageHead(p, hidden, a, c), [a.batch, a.token, a.vocab]);

/**
 * The step of any decoder: `input_ids` [batch, token = tokens] after `past` others -> `logits` [batch, token, vocab] and
 * what is remembered of all. `p` is the scope that has `model` and `lm_head`.
 */
export function decodeStep(p: Params, c: TextConfig): Outputs {
  const a = openAxes(c);
  const { ids, context, past } = decoderInputs(a, c.depth, "step");
  const embedded = tokenEmbedding(p.scope("model"), ids, a);
  const { last, memory } = decoder(p.scope("model"), embedded, a, c, context, past);
  return { logits: scores(p, last, a, c), ...presentOutputs(memory, a) };
}

/** The beginning of a text: `input_ids` -> `logits` after the last token and what is remembered. */
export function prefill(p: Params, c: TextConfig): Outputs {
  const a = openAxes(c);
  const { ids, context } = decoderInputs(a, c.depth, "beginning");
  const { last, memory } = decoder(p.scope("model"), tokenEmbedding(p.scope("model"), ids, a), a, c, context);
  return { logits: lastLogits(p, last, a, c), ...presentOutputs(memory, a) };
}

/** The beginning of a chat: `pixels` and `input_ids` with `imageToken` where the image goes. */
export function chatPrefill(p: Params, c: ChatConfig): Outputs {
  const a = openAxes(c.text);
  const { ids, context } = decoderInputs(a, c.text.depth, "beginning");
  const embedded = withImage(p, visualTokens(p, pixelsInput(c.vision), c), ids, c.text);
  const { last, memory } = decoder(p.scope("model"), embedded, a, c.text, context);
  return { logits: lastLogits(p, last, a, c.text), ...presentOutputs(memory, a) };
}

/**
 * The beginning of a text by QLLaMA about an image's features: the prompt `input_ids` (padding 0 at the end). The queries
 * come before the prompt, so `present` holds as many tokens more, and positions go on from there.
 */
export function qllamaPrefill(p: Params, vision: VisionTokens, c: QllamaConfig): Outputs {
  const a = openAxes(c);
  const { text, memory } = qllama(p, vision, decoderInputs(a, c.depth, "beginning").ids, c, "generative");
  return { logits: lastLogits(p.scope("qllama"), text, a, c), ...presentOutputs(memory, a) };
}

/** The beginning of a caption: `pixels` and the prompt `input_ids`, read as `qllamaPrefill` does. */
export const captionPrefill = (p: Params, c: GenerativeConfig): Outputs =>
  qllamaPrefill(p, visionTokens(p, pixelsInput(c.vision), c), c.text);

/** The step of QLLaMA's text: the queries are among what is remembered, so the image is not needed any more. */
export const qllamaStep = (p: Params, c: QllamaConfig): Outputs => decodeStep(p.scope("qllama"), c);

/** The step of a caption. */
export const captionStep = (p: Params, c: GenerativeConfig): Outputs => qllamaStep(p, c.text);
