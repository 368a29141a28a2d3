/**
 * Autoregressive decoding: a prefill graph that reads the prompt (and the image), and a step graph that continues.
 * Names of inputs and outputs are those of ONNX decoders (Hugging Face optimum, transformers.js): `input_ids`,
 * `attention_mask`, `position_ids`, `past_key_values.N.key`, `present.N.key`. Sizes `tokens` and `past` are symbolic.
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

/** The axes for a symbolic number of new tokens. */
const openAxes = (c: TextConfig): TextAxes => textAxes(c, newTokens().size);

/** Logits of the last token only: hidden [batch, token, embed] -> [batch, token = 1, vocab] */
const lastLogits = (p: Params, hidden: TextTokens, a: TextAxes, c: TextConfig): Tensor<"batch" | "token" | "vocab"> =>
  scores(p, lastOf<"batch" | "embed">(hidden), a, c);

const scores = (p: Params, hidden: TextTokens, a: TextAxes, c: TextConfig): Tensor<"batch" | "token" | "vocab"> =>
  transpose(languageHead(p, hidden, a, c), [a.batch, a.token, a.vocab]);

/**
 * The step of any decoder: `input_ids` [batch, token = tokens] after `past` cached ones -> `logits` [batch, token,
 * vocab] and the KV cache of all. `p` is the scope that has `model` and `lm_head`.
 */
export function decodeStep(p: Params, c: TextConfig): Outputs {
  const a = openAxes(c);
  const { ids, context, past } = decoderInputs(a, c.depth, "step");
  const embedded = tokenEmbedding(p.scope("model"), ids, a);
  const { last, memory } = decoder(p.scope("model"), embedded, a, c, context, past);
  return { logits: scores(p, last, a, c), ...presentOutputs(memory, a) };
}

/** Prefill: `input_ids` -> `logits` of the last token and the KV cache. */
export function prefill(p: Params, c: TextConfig): Outputs {
  const a = openAxes(c);
  const { ids, context } = decoderInputs(a, c.depth, "beginning");
  const { last, memory } = decoder(p.scope("model"), tokenEmbedding(p.scope("model"), ids, a), a, c, context);
  return { logits: lastLogits(p, last, a, c), ...presentOutputs(memory, a) };
}

/** Prefill of a chat: `pixels`, and `input_ids` with `imageToken` in place of the image. */
export function chatPrefill(p: Params, c: ChatConfig): Outputs {
  const a = openAxes(c.text);
  const { ids, context } = decoderInputs(a, c.text.depth, "beginning");
  const embedded = withImage(p, visualTokens(p, pixelsInput(c.vision), c), ids, c.text);
  const { last, memory } = decoder(p.scope("model"), embedded, a, c.text, context);
  return { logits: lastLogits(p, last, a, c.text), ...presentOutputs(memory, a) };
}

/**
 * Prefill of QLLaMA's text about an image: the prompt `input_ids` (padding 0 at the end). The queries precede the
 * prompt, so `present` has that many more tokens, and positions continue from there.
 */
export function qllamaPrefill(p: Params, vision: VisionTokens, c: QllamaConfig): Outputs {
  const a = openAxes(c);
  const { text, memory } = qllama(p, vision, decoderInputs(a, c.depth, "beginning").ids, c, "generative");
  return { logits: lastLogits(p.scope("qllama"), text, a, c), ...presentOutputs(memory, a) };
}

/** Prefill of a caption: `pixels` and the prompt `input_ids`, as in `qllamaPrefill`. */
export const captionPrefill = (p: Params, c: GenerativeConfig): Outputs =>
  qllamaPrefill(p, visionTokens(p, pixelsInput(c.vision), c), c.text);

/** The step of QLLaMA's text: the KV cache includes the queries, so the image is not needed. */
export const qllamaStep = (p: Params, c: QllamaConfig): Outputs => decodeStep(p.scope("qllama"), c);

/** The step of a caption. */
export const captionStep = (p: Params, c: GenerativeConfig): Outputs => qllamaStep(p, c.text);
