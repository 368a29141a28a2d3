/**
 * Multiply-accumulates as the paper counts them: linear layers on all tokens, without biases; the patch convolution
 * with its bias; the two attention products over patch tokens only. For one sample.
 */
import type { ChatConfig, ChatQueriesConfig } from "./chat.ts";
import type { ContrastiveConfig } from "./contrastive.ts";
import type { GenerativeConfig } from "./generative.ts";
import { patchCount, type VisionConfig } from "./internvit.ts";
import { queriesPerKey, type TextConfig, variantOf } from "./llama.ts";
import type { ProbeConfig } from "./probes.ts";
import type { QllamaConfig } from "./qllama.ts";
import type { SegmentationConfig } from "./segmentation.ts";

/** InternViT up to a block; default all of them. */
export function visionMacs(c: VisionConfig, blocks = c.depth): number {
  const patches = patchCount(c);
  const convolution = patches * (3 * c.patch ** 2 + 1) * c.width;
  const linear = (patches + 1) * (4 * c.width ** 2 + 2 * c.width * c.mlp);
  const products = 2 * patches ** 2 * c.width;
  return convolution + blocks * (linear + products);
}

/** The layers of a decoder over `tokens` tokens, and its output matrix over `scored`. */
export function decoderMacs(c: TextConfig, tokens: number, scored: number): number {
  const headDim = variantOf(c).headDim ?? c.width / c.heads;
  const [queries, keys] = [c.heads * headDim, (c.heads / queriesPerKey(c)) * headDim];
  const layer = tokens * c.width * (2 * queries + 2 * keys + 3 * c.mlp) + 2 * tokens ** 2 * queries;
  return c.depth * layer + scored * c.width * c.vocab;
}

const crossLayers = (c: QllamaConfig): number => Math.ceil(c.depth / c.crossEvery);

/** Cross-attention of the queries, without the keys and values of the image. */
const askingMacs = (c: QllamaConfig, vision: VisionConfig): number =>
  crossLayers(c) * 2 * c.queries * c.width * (c.width + patchCount(vision) + 1);

/** The image's keys and values in all layers, which passes share. */
const imageMemoryMacs = (c: QllamaConfig, vision: VisionConfig): number =>
  crossLayers(c) * 2 * (patchCount(vision) + 1) * vision.width * c.width;

/** A pass over the queries and a text. */
const passMacs = (c: QllamaConfig, vision: VisionConfig, text: number, scored: number): number =>
  decoderMacs(c, c.queries + text, scored) + askingMacs(c, vision);

/** Attention pooling: one query over `tokens` tokens. */
const poolingMacs = (width: number, tokens: number, out: number): number =>
  (1 + 2 * tokens) * width ** 2 + 2 * tokens * width + width * out;

const textMacs = (c: ContrastiveConfig): number => decoderMacs(c.text, c.text.context, 0) + c.text.width * c.embed;

/** One image and one text. */
export const contrastiveMacs = (c: ContrastiveConfig): number =>
  visionMacs(c.vision) + poolingMacs(c.vision.width, patchCount(c.vision) + 1, c.embed) + textMacs(c);

/** QLLaMA over its queries and a text, with logits of `scored` tokens. */
export const qllamaMacs = (c: QllamaConfig, vision: VisionConfig, text: number, scored: number): number =>
  passMacs(c, vision, text, scored) + imageMemoryMacs(c, vision);

/** One image and one text: contrastive, matching and captioning. */
export function generativeMacs(c: GenerativeConfig): number {
  const { context, queries, width } = c.text;
  const compared = passMacs(c.text, c.vision, 0, 0) + poolingMacs(width, queries, c.embed);
  const matched = passMacs(c.text, c.vision, context, 0) + queries * width * 2;
  const written = passMacs(c.text, c.vision, context, context);
  return contrastiveMacs(c) + imageMemoryMacs(c.text, c.vision) + compared + matched + written;
}

/** A conversation of `context` tokens, with logits of every token. */
export function chatMacs(c: ChatConfig | ChatQueriesConfig): number {
  const glue = (from: number, tokens: number) => tokens * (from * c.text.width + c.text.width ** 2);
  const language = decoderMacs(c.text, c.text.context, c.text.context);
  const patches = glue(c.vision.width, patchCount(c.vision));
  if (!("qllama" in c)) return visionMacs(c.vision, c.vision.depth + 1 + c.features) + patches + language;
  const { qllama } = c as ChatQueriesConfig;
  const queries = qllamaMacs(qllama, c.vision, 0, 0) + glue(qllama.width, qllama.queries);
  return visionMacs(c.vision) + patches + queries + language;
}

/** The encoder and a probe. */
export function probeMacs(c: ProbeConfig): number {
  const { width } = c.vision;
  if (c.features !== "pooling") return visionMacs(c.vision) + 2 * width * c.classes;
  return visionMacs(c.vision) + poolingMacs(width, patchCount(c.vision) + 1, c.embed) + c.embed * c.classes;
}

/** The encoder up to the last block used, and a head; UperNet's resizing is not counted. */
export function segmentationMacs(c: SegmentationConfig): number {
  const [w, ch, grid] = [c.vision.width, c.channels, c.vision.image / c.vision.patch];
  const encoder = visionMacs(c.vision, Math.max(...c.blocks));
  if (ch === 0) return encoder + grid ** 2 * w * c.classes;
  const coarse = Math.floor(grid / 2);
  const places = [4 * grid, 2 * grid, grid].reduce((n, side) => n + side ** 2, 0);
  const pyramid = (1 + 4 + 1) * grid ** 2 * 4 * w ** 2;
  const context = (1 + 4 + 9 + 36) * w * ch + coarse ** 2 * 9 * (w + 4 * ch) * ch;
  const levels = places * (w * ch + 9 * ch ** 2);
  const fusion = (4 * grid) ** 2 * (9 * 4 * ch ** 2 + ch * c.classes);
  return encoder + pyramid + context + levels + fusion;
}
