/**
 * InternVL-C: images through InternViT and attention pooling, texts through LLaMA's EOS feature, compared by cosine.
 * Chen et al. 2023, arXiv:2312.14238, sections 3.2 and 3.3 (stage 1).
 */
import {
  type Axis,
  add,
  attentionPooling,
  axis,
  axisOf,
  constantInit,
  contract,
  crossEntropy,
  exp,
  input,
  iota,
  l2Normalize,
  linear,
  mean,
  mul,
  normal,
  type Params,
  rename,
  scale,
  type Tensor,
} from "../../dsl/index.ts";
import {
  internvit,
  internvit6b,
  type Pixels,
  pixelsInput,
  type VisionConfig,
  type VisionOptions,
  type VisionTokens,
} from "./internvit.ts";
import { chineseLlama7b, eosFeature, type Ids, llama, type TextConfig, textAxes } from "./llama.ts";

export interface ContrastiveConfig {
  readonly [key: string]: number | VisionConfig | TextConfig;
  readonly vision: VisionConfig;
  readonly text: TextConfig;
  /** Width of the joint embedding space. */
  readonly embed: number;
  readonly poolingHeads: number;
}

export const internvlCConfig: ContrastiveConfig = {
  vision: internvit6b,
  text: chineseLlama7b,
  embed: 768,
  poolingHeads: 16,
};

/** Vectors in the joint embedding space, one per row; unit vectors where documented. */
export type Embedding = Tensor<"batch" | "feature">;

/** Settings of attention pooling. */
export type PoolingConfig = Pick<ContrastiveConfig, "embed" | "poolingHeads">;

export const featureAxis = (c: Pick<PoolingConfig, "embed">) => axis("feature", c.embed);

/** Attention pooling of tokens into the joint embedding space. x [batch, token, embed] -> [batch, feature] */
export function pooled(p: Params, x: Tensor<"batch" | "token" | "embed">, c: PoolingConfig): Embedding {
  return attentionPooling(p, x, {
    token: axisOf(x, "token"),
    embed: axisOf(x, "embed"),
    out: featureAxis(c),
    heads: c.poolingHeads,
  });
}

/** The features that InternVL-C pools: all tokens after the last block. */
export const visionTokens = (
  p: Params,
  pixels: Pixels,
  c: ContrastiveConfig,
  options: VisionOptions = {},
): VisionTokens => internvit(p.scope("vision_model"), pixels, c.vision, options).at(-1)!;

/** pixels [batch, channel, row, column] -> unit vectors [batch, feature] */
export const imageEmbedding = (
  p: Params,
  pixels: Pixels,
  c: ContrastiveConfig,
  options: VisionOptions = {},
): Embedding => l2Normalize(pooled(p.scope("clip_projector"), visionTokens(p, pixels, c, options), c), featureAxis(c));

/** ids i32 [batch, token], 0 = padding, EOS last -> unit vectors [batch, feature] */
export function textEmbedding(p: Params, ids: Ids, c: ContrastiveConfig): Embedding {
  const a = textAxes(c.text);
  const eos = eosFeature(llama(p.scope("qllama.model"), ids, c.text), ids, a);
  const projected = linear(p.scope("text_projection"), eos, [a.embed], [featureAxis(c)], {
    bias: false,
    init: normal(c.text.width ** -0.5),
  });
  return l2Normalize(projected, featureAxis(c));
}

/** Token ids [batch, token]. */
export const idsInput = (c: TextConfig, name = "ids"): Ids => {
  const a = textAxes(c);
  return input(name, "i32", [a.batch, a.token]);
};

/**
 * The learned temperature as a factor of the cosine: exp(logit_scale). Training keeps it in [1, 100] (Radford et al.
 * 2021, section 2.5) by clamping the parameter after each step, as OpenCLIP does. Clamping in the loss would give zero
 * gradient above 100, and a temperature there would never come back.
 */
export const logitScale = (p: Params): Tensor<never> =>
  exp(p.parameter("logit_scale", [], constantInit(Math.log(1 / 0.07)), { within: [0, Math.log(100)] }));

export interface ContrastiveLoss {
  readonly loss: Tensor<never>;
  /** exp(logit_scale) */
  readonly scale: Tensor<never>;
}

/** The similarity matrix of a batch: images as rows, texts as columns. */
export interface Pairs {
  readonly rows: Axis<"batch">;
  readonly columns: Axis<"pair">;
  /** Cosine times temperature of every image (batch) with every text (pair). */
  readonly logits: Tensor<"batch" | "pair">;
}

/** All pairs of unit vectors image [batch, feature] and text [batch, feature]. */
export function allPairs(image: Embedding, text: Embedding, temperature: Tensor<never>): Pairs {
  const rows = axisOf(image, "batch");
  const columns = axis("pair", rows.size);
  const cosines = contract(image, rename(text, rows, columns), axisOf(image, "feature"));
  return { rows, columns, logits: mul(cosines, temperature) };
}

/** Symmetric cross-entropy over all pairs of a batch; row i matches row i. InternVL section 3.3, stage 1. */
export function contrastiveLoss(image: Embedding, text: Embedding, temperature: Tensor<never>): Tensor<never> {
  const { rows, columns, logits } = allPairs(image, text, temperature);
  const byImage = mean(crossEntropy(logits, iota(rows), columns), rows);
  const byText = mean(crossEntropy(logits, iota(columns), rows), columns);
  return scale(add(byImage, byText), 0.5);
}

/** Stage 1: both towers, their pooling and the temperature, from pixels and ids to the loss. */
export function stageOneLoss(p: Params, c: ContrastiveConfig, options: VisionOptions = {}): ContrastiveLoss {
  const temperature = logitScale(p);
  const image = imageEmbedding(p, pixelsInput(c.vision), c, options);
  const text = textEmbedding(p, idsInput(c.text), c);
  return { loss: contrastiveLoss(image, text, temperature), scale: temperature };
}
