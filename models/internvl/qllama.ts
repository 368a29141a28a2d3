/**
 * QLLaMA: LLaMA with learned queries before the text, which attend to the image through cross-attention in every second
 * layer. Chen et al. 2023, arXiv:2312.14238, section 3.2; parameter names are those of the published checkpoint.
 */
import {
  type Axis,
  add,
  and,
  attention,
  axis,
  axisOf,
  broadcast,
  causalMask,
  concat,
  type Dim,
  gt,
  iota,
  linear,
  longer,
  lt,
  normal,
  not,
  or,
  type Params,
  pad,
  rename,
  rmsNorm,
  slice,
  UsageError,
} from "../../dsl/index.ts";
import type { VisionTokens } from "./internvit.ts";
import {
  attend,
  type Context,
  chineseLlama7b,
  feedForward,
  type Ids,
  type Memory,
  type TextAxes,
  type TextConfig,
  type TextTokens,
  textAxes,
  tokenEmbedding,
  type Visible,
} from "./llama.ts";

export interface QllamaConfig extends TextConfig {
  /** Number of learned queries before the text. */
  readonly queries: number;
  /** Cross-attention in layers 0, n, 2n ... */
  readonly crossEvery: number;
}

/** 7,842,306,048 parameters: multilingual LLaMA-7B, 16 cross-attention layers, 96 queries. */
export const qllama8b: QllamaConfig = { ...chineseLlama7b, queries: 96, crossEvery: 2 };

/**
 * The purpose of a pass, which determines its mask; padding is always masked, and queries always attend to each other.
 * matching: full attention. contrastive: queries and text do not attend to each other, text is causal. generative: text
 * attends to the queries and to earlier text; queries attend to no text.
 */
export type Pass = "matching" | "contrastive" | "generative";

export interface QllamaOutput {
  /** [batch, token = queries, embed], after the final norm. */
  readonly queries: TextTokens;
  /** [batch, token = text, embed], after the final norm. */
  readonly text: TextTokens;
  /** Keys and values of queries and text, one for each layer. */
  readonly memory: readonly Memory[];
}

/** The queries of every image: [batch, token = queries, embed] */
const queryTokens = (p: Params, vision: VisionTokens, c: QllamaConfig): TextTokens => {
  const { token, embed } = textAxes(c, c.queries);
  return broadcast(p.parameter("query_tokens", [token, embed], normal(0.02)), axisOf(vision, "batch"));
};

/** One pass over queries and text. vision [batch, token, embed], ids i32 [batch, token = text] */
export function qllama(p: Params, vision: VisionTokens, ids: Ids, c: QllamaConfig, pass: Pass): QllamaOutput {
  const text = axisOf(ids, "token");
  const a = textAxes(c, longer(text, c.queries).size);
  const embedded = tokenEmbedding(p.scope("qllama.model"), ids, a);
  const both = concat([queryTokens(p, vision, c), embedded], a.token);
  const context: Context = {
    position: iota(a.token),
    visible: passVisible(pass, ids, c),
    key: axis("key_token", a.token.size),
  };
  const { last, memory } = layers(p.scope("qllama.model"), both, vision, text, a, c, context);
  const part = (start: number, length: Dim) => slice(last, a.token, start, length);
  return { queries: part(0, c.queries), text: part(c.queries, text.size), memory };
}

/** The queries alone: the same features as in the contrastive and generative passes. [batch, token = queries, embed] */
export function queryFeatures(p: Params, vision: VisionTokens, c: QllamaConfig): TextTokens {
  const a = textAxes(c, c.queries);
  const context: Context = { position: iota(a.token), key: axis("key_token", c.queries) };
  return layers(p.scope("qllama.model"), queryTokens(p, vision, c), vision, undefined, a, c, context).last;
}

/** The attention mask as an expression of positions. ids [batch, token = text] -> bool [batch, token, key_token] */
export function passVisible(pass: Pass, ids: Ids, c: QllamaConfig): Visible {
  const token = longer(axisOf(ids, "token"), c.queries);
  const key = axis("key_token", token.size);
  // Queries count as tokens that are not padding.
  const real = gt(rename(pad(ids, axisOf(ids, "token"), c.queries, 0, 1), token, key), 0);
  if (pass === "matching") return real;
  const [queryRow, queryKey] = [lt(iota(token), c.queries), lt(iota(key), c.queries)];
  const textToText = and(and(not(queryRow), not(queryKey)), causalMask(token, key));
  const within = or(and(queryRow, queryKey), textToText);
  return and(real, pass === "contrastive" ? within : or(within, and(not(queryRow), queryKey)));
}

/** All layers and the final norm; `text` is the axis of the tokens after the queries, if there are any. */
function layers(
  p: Params,
  embedded: TextTokens,
  vision: VisionTokens,
  text: Axis<"token"> | undefined,
  a: TextAxes,
  c: QllamaConfig,
  context: Context,
): { readonly last: TextTokens; readonly memory: readonly Memory[] } {
  if (!(Number.isInteger(c.crossEvery) && c.crossEvery >= 1))
    throw new UsageError(
      `crossEvery must be a positive number of layers, got ${c.crossEvery}: queries must attend to the image in some layers`,
    );
  const memory: Memory[] = [];
  let x = embedded;
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`layers.${i}`);
    const attended = attend(layer, x, a, c, context);
    memory.push(attended.memory);
    const crossed = i % c.crossEvery === 0 ? crossAttend(layer, attended.x, vision, text, a, c) : attended.x;
    x = feedForward(layer, crossed, a, c);
  }
  return { last: rmsNorm(p.scope("norm"), x, [a.embed], c.epsilon), memory };
}

/**
 * Cross-attention of the queries with a residual, without a gate; the text is unchanged. x [batch, token, embed] -> the
 * same
 */
function crossAttend(
  p: Params,
  x: TextTokens,
  vision: VisionTokens,
  text: Axis<"token"> | undefined,
  a: TextAxes,
  c: QllamaConfig,
): TextTokens {
  const queries = slice(x, a.token, 0, c.queries);
  const seen = add(queries, crossAttention(p.scope("cross_attn"), queries, vision, a, c));
  return text ? concat([seen, slice(x, a.token, c.queries, text.size)], a.token) : seen;
}

/**
 * Queries attend to all vision tokens, class token included; no mask, no rotation, no gate. Keys and values depend only
 * on the image, so passes of one graph share them.
 */
function crossAttention(
  p: Params,
  queries: TextTokens,
  vision: VisionTokens,
  a: TextAxes,
  c: QllamaConfig,
): TextTokens {
  const [token, embed] = [axisOf(vision, "token"), axisOf(vision, "embed")];
  const [key, width] = [axis("vision_token", token.size), axis("vision_embed", embed.size)];
  const image = rmsNorm(p.scope("norm2"), rename(rename(vision, token, key), embed, width), [width], c.epsilon);
  const plain = { bias: false, init: normal(0.02) };
  const heads = [...a.queryHeads, a.headDim];
  const normed = rmsNorm(p.scope("norm1"), queries, [a.embed], c.epsilon);
  const q = linear(p.scope("q_proj"), normed, [a.embed], heads, plain);
  const k = linear(p.scope("k_proj"), image, [width], heads, plain);
  const v = linear(p.scope("v_proj"), image, [width], heads, plain);
  const mixed = attention(q, k, v, { dot: a.headDim, over: key });
  return linear(p.scope("o_proj"), mixed, heads, [a.embed], plain);
}
