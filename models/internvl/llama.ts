/**
 * LLaMA: a causal decoder with RMS norms, rotary positions and SwiGLU, without biases. Touvron et al. 2023,
 * arXiv:2302.13971, section 2.2; grouped-query attention as in LLaMA-2 (Ainslie et al. 2023, arXiv:2305.13245).
 * Parameter names are those of the published checkpoints.
 */
import {
  type AnyTensor,
  type Axis,
  add,
  and,
  attention,
  axis,
  type Config,
  cast,
  causalMask,
  contract,
  type Dim,
  embedding,
  gather,
  gt,
  iota,
  linear,
  ne,
  normal,
  type Params,
  type RotaryScaling,
  rename,
  rmsNorm,
  rotary,
  sub,
  sum,
  swiGlu,
  symbol,
  type Tensor,
  UsageError,
  withPast,
} from "../../dsl/index.ts";
import { headWidth } from "./internvit.ts";

export interface TextConfig {
  /** Settings that differ from LLaMA-1: `rotaryScaling`, and those of `TextVariant`. */
  readonly [key: string]: number | string | boolean | RotaryScaling;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlp: number;
  readonly vocab: number;
  /** Tokens of a text, padding included; 0 makes the number symbolic. */
  readonly context: number;
  readonly epsilon: number;
  /** Biases in q, k, v and o, as in InternLM. */
  readonly attentionBias: boolean;
  readonly rotaryBase: number;
}

/** Optional settings. */
export interface TextVariant {
  /** Key/value heads, each shared by a group of `heads`; default as many as `heads`. */
  readonly keyHeads?: number;
  /** Head size; default the width divided by `heads`. */
  readonly headDim?: number;
  /** Biases in the MLP; default none. */
  readonly mlpBias?: boolean;
  /** Whether the output matrix is the token embedding, without an `lm_head`; default false. */
  readonly tied?: boolean;
  /**
   * Maximum tokens of a text, as a checkpoint's `max_position_embeddings` gives it; default that of the prompt format.
   */
  readonly maxPositions?: number;
}

export const variantOf = (c: TextConfig): TextVariant => c as TextVariant;

/**
 * Settings read from a checkpoint for a model that names its key heads, which a checkpoint without groups leaves out.
 */
export const withKeyHeads = (read: TextConfig, own: TextConfig): TextConfig =>
  variantOf(own).keyHeads === undefined ? read : { keyHeads: read.heads, ...read };

/** A decoder's rotary settings. */
export const rotaryOf = (c: TextConfig): { readonly base: number; readonly scaling?: RotaryScaling } => {
  const scaling = c.rotaryScaling as RotaryScaling | undefined;
  return scaling ? { base: c.rotaryBase, scaling } : { base: c.rotaryBase };
};

/** Multilingual LLaMA-7B (Chinese-LLaMA-Alpaca), InternVL's text tower: 6,885,494,784 parameters with lm_head. */
export const chineseLlama7b: TextConfig = {
  width: 4096,
  depth: 32,
  heads: 32,
  mlp: 11008,
  vocab: 49954,
  context: 80,
  epsilon: 1e-6,
  attentionBias: false,
  rotaryBase: 10000,
};

/** Whether a configuration, or a part of one, is a LLaMA's. */
export const isText = (config: Config[string] | undefined): config is TextConfig =>
  typeof config === "object" && Object.keys(chineseLlama7b).every((key) => Object.hasOwn(config, key));

export interface TextAxes {
  readonly batch: Axis<"batch">;
  readonly token: Axis<"token">;
  readonly embed: Axis<"embed">;
  /** Key/value heads. */
  readonly heads: Axis<"heads">;
  /** Query heads: the key/value heads and, if shared, the queries of each group. */
  readonly queryHeads: readonly Axis<"heads" | "group">[];
  readonly headDim: Axis<"head_dim">;
  readonly hidden: Axis<"hidden">;
  readonly vocab: Axis<"vocab">;
}

/** The axes of a decoder; `tokens` overrides the configured number of tokens. */
export function textAxes(c: TextConfig, tokens: Dim = c.context === 0 ? symbol("token") : c.context): TextAxes {
  const group = queriesPerKey(c);
  const heads: Axis<"heads"> = axis("heads", c.heads / group);
  return {
    batch: axis("batch", "batch"),
    token: axis("token", tokens),
    embed: axis("embed", c.width),
    heads,
    queryHeads: group === 1 ? [heads] : [heads, axis("group", group)],
    headDim: axis("head_dim", variantOf(c).headDim ?? headWidth(c)),
    hidden: axis("hidden", c.mlp),
    vocab: axis("vocab", c.vocab),
  };
}

/** Query heads per key/value head. Throws UsageError if they do not divide evenly. */
export function queriesPerKey(c: TextConfig): number {
  const { heads } = c;
  const { keyHeads = heads } = variantOf(c);
  if (heads % keyHeads === 0) return heads / keyHeads;
  throw new UsageError(`${heads} query heads are not divisible by ${keyHeads} key and value heads`);
}

export type TextTokens = Tensor<"batch" | "token" | "embed">;
export type Ids = Tensor<"batch" | "token">;
/** True where a token may attend to a key; axes that it does not depend on are left out. */
export type Visible = Tensor<"batch" | "token" | "key_token"> | Tensor<"batch" | "key_token">;
/** Cached keys or values of all tokens so far. */
export type Remembered = Tensor<"batch" | "heads" | "key_token" | "head_dim">;

/** One layer's KV cache: its rotated keys and its values. */
export interface Memory {
  readonly key: Remembered;
  readonly value: Remembered;
}

/** Positions and attention mask of tokens; the same for all layers. */
export interface Context {
  /** Positions for the rotation: i32 [token] or [batch, token]. */
  readonly position: Tensor<"token"> | Ids;
  /** Default no mask. */
  readonly visible?: Visible;
  /** All keys: the cached tokens, then the given ones. */
  readonly key: Axis<"key_token">;
}

/** Causal, with padding (id 0) masked wherever it is; positions count from 0. */
export function causalContext(ids: Ids, a: TextAxes): Context {
  const key = axis("key_token", a.token.size);
  const visible = and(causalMask(a.token, key), ne(rename(ids, a.token, key), 0));
  return { position: iota(a.token), visible, key };
}

/** Self-attention with its norm and residual: x [batch, token, embed] -> the same, and the layer's KV cache. */
export function attend(
  p: Params,
  x: TextTokens,
  a: TextAxes,
  c: TextConfig,
  { position, visible, key }: Context,
  past?: Memory,
): { readonly x: TextTokens; readonly memory: Memory } {
  const scope = p.scope("self_attn");
  const bias = { bias: c.attentionBias };
  const normed = rmsNorm(p.scope("input_layernorm"), x, [a.embed], c.epsilon);
  const project = <H extends string>(name: string, heads: readonly Axis<H>[]) =>
    linear<"batch" | "token" | "embed", "embed", H | "head_dim">(
      scope.scope(name),
      normed,
      [a.embed],
      [...heads, a.headDim],
      bias,
    );
  const turned = <H extends string>(name: string, heads: readonly Axis<H>[]) =>
    rotary<H | "head_dim" | "batch" | "token", "batch" | "token", "head_dim">(
      project(name, heads),
      position as Ids,
      a.headDim,
      rotaryOf(c),
    );
  const memory: Memory = {
    key: withPast(turned("k_proj", [a.heads]), a.token, key, past?.key),
    value: withPast(project("v_proj", [a.heads]), a.token, key, past?.value),
  };
  const mask = visible as Tensor<"batch" | "key_token"> | undefined;
  const queries = turned("q_proj", a.queryHeads);
  const mixed = attention(queries, memory.key, memory.value, { dot: a.headDim, over: key }, mask);
  return { x: add(x, linear(scope.scope("o_proj"), mixed, [...a.queryHeads, a.headDim], [a.embed], bias)), memory };
}

/** The MLP with its norm and residual. */
export function feedForward(p: Params, x: TextTokens, a: TextAxes, c: TextConfig): TextTokens {
  const normed = rmsNorm(p.scope("post_attention_layernorm"), x, [a.embed], c.epsilon);
  return add(x, swiGlu(p.scope("mlp"), normed, a.embed, a.hidden, { bias: variantOf(c).mlpBias ?? false }));
}

export interface Decoded {
  /** Token features: the input, and after each layer; depth + 1 tensors, the last one before the final norm. */
  readonly states: readonly TextTokens[];
  /** After the final norm. */
  readonly last: TextTokens;
  /** One for each layer. */
  readonly memory: readonly Memory[];
}

/** All layers and the final norm, on embedded tokens [batch, token, embed]. */
export function decoder(
  p: Params,
  embedded: TextTokens,
  a: TextAxes,
  c: TextConfig,
  context: Context,
  past?: readonly Memory[],
): Decoded {
  const states = [embedded];
  const memory: Memory[] = [];
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`layers.${i}`);
    const attended = attend(layer, states[i]!, a, c, context, past?.[i]);
    memory.push(attended.memory);
    states.push(feedForward(layer, attended.x, a, c));
  }
  return { states, last: rmsNorm(p.scope("norm"), states.at(-1)!, [a.embed], c.epsilon), memory };
}

/** ids i32 [batch, token] -> [batch, token, embed]. An id outside the vocabulary is clamped to it. */
export const tokenEmbedding = (p: Params, ids: Ids, a: TextAxes): TextTokens =>
  embedding(p.scope("embed_tokens"), ids, a.vocab, a.embed);

/** Hidden states after the final norm: ids i32 [batch, token] -> [batch, token, embed]. */
export function llama(p: Params, ids: Ids, c: TextConfig): TextTokens {
  const a = textAxes(c);
  return decoder(p, tokenEmbedding(p, ids, a), a, c, causalContext(ids, a)).last;
}

/** Next-token logits, without bias: hidden [..., embed] -> [..., vocab]. `p` has `model` and `lm_head`. */
export function languageHead<A extends string>(
  p: Params,
  hidden: Tensor<A | "embed">,
  a: TextAxes,
  c: TextConfig,
): Tensor<Exclude<A, "embed"> | "vocab"> {
  if (variantOf(c).tied) {
    const words = p.shared().scope("model.embed_tokens").parameter("weight", [a.vocab, a.embed], normal(0.02));
    return contract(hidden as AnyTensor, words as AnyTensor, [a.embed]) as Tensor<Exclude<A, "embed"> | "vocab">;
  }
  const scores = linear(p.scope("lm_head"), hidden, [a.embed], [a.vocab], { bias: false, init: normal(0.02) });
  return scores as Tensor<Exclude<A, "embed"> | "vocab">;
}

/** The state of the last token that is not padding, which is EOS. [batch, token, embed] -> [batch, embed] */
export function eosFeature(hidden: TextTokens, ids: Ids, a: TextAxes): Tensor<"batch" | "embed"> {
  return gather(hidden, lastToken(ids, a), a.token);
}

/** The position of the last token that is not padding, for padding at the end: ids [batch, token] -> i32 [batch] */
export const lastToken = (ids: Ids, a: TextAxes): Tensor<"batch"> => sub(sum(cast(gt(ids, 0), "i32"), a.token), 1);
