/**
 * InternVL-G: contrastive embedding with QLLaMA, matching, and captions. Chen et al. 2023, arXiv:2312.14238, sections
 * 3.2 and 3.4.
 */
import { add, axis, axisOf, l2Normalize, linear, mean, normal, type Params, type Tensor } from "../../dsl/index.ts";
import {
  type ContrastiveConfig,
  type Embedding,
  featureAxis,
  internvlCConfig,
  pooled,
  visionTokens,
} from "./contrastive.ts";
import type { Pixels, VisionConfig, VisionTokens } from "./internvit.ts";
import type { Ids, TextTokens } from "./llama.ts";
import { type QllamaConfig, qllama, qllama8b, queryFeatures } from "./qllama.ts";

export interface GenerativeConfig extends ContrastiveConfig {
  readonly vision: VisionConfig;
  readonly text: QllamaConfig;
}

/** InternVL-14B at 224 pixels: 13,834,975,747 parameters with the language head. */
export const internvlGConfig: GenerativeConfig = { ...internvlCConfig, text: qllama8b };

/** The pooled queries: unit vectors [batch, feature]. queries [batch, token, embed] */
export const queryEmbedding = (p: Params, queries: TextTokens, c: GenerativeConfig): Embedding =>
  l2Normalize(pooled(p.scope("clip_projector2"), queries, c), featureAxis(c));

/** The pooled tokens of InternViT: unit vectors [batch, feature]. */
export const tokenImageEmbedding = (p: Params, vision: VisionTokens, c: GenerativeConfig): Embedding =>
  l2Normalize(pooled(p.scope("clip_projector"), vision, c), featureAxis(c));

/** The normalized sum of two unit vectors: of InternViT's tokens and of QLLaMA's queries. */
export function imageEmbeddingG(p: Params, pixels: Pixels, c: GenerativeConfig): Embedding {
  const vision = visionTokens(p, pixels, c);
  const queries = queryEmbedding(p, queryFeatures(p, vision, c.text), c);
  return l2Normalize(add(tokenImageEmbedding(p, vision, c), queries), featureAxis(c));
}

/** 0: the text does not match the image; 1: it does. */
export const verdict = axis("match", 2);

/** Logits of both classes, averaged over the queries. queries [batch, token, embed] -> [batch, match] */
function matchScores(p: Params, queries: TextTokens): Tensor<"batch" | "match"> {
  const each = linear(p.scope("itm_head"), queries, [axisOf(queries, "embed")], [verdict], { init: normal(0.02) });
  return mean(each, axisOf(queries, "token"));
}

/**
 * Whether texts match images. vision [batch, token, embed], ids i32 [batch, token] without a prefix -> [batch, match]
 */
export const matching = (p: Params, vision: VisionTokens, ids: Ids, c: GenerativeConfig): Tensor<"batch" | "match"> =>
  matchScores(p, qllama(p, vision, ids, c.text, "matching").queries);
