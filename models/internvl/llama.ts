/**
 * LLaMA: causal decoder with RMS norms, rotary positions and SwiGLU, no biases. Touvron et al. 2023, arXiv:2302.13971,
 * section 2.2; parameter names are those of the published checkpoints.
 */
import {
  type Axis,
  add,
  and,
  attention,
  axis,
  cast,
  embedding,
  gather,
  gt,
  iota,
  le,
  linear,
  normal,
  type Params,
  rename,
  rmsNorm,
  rotary,
  sub,
  sum,
  swiGlu,
  type Tensor,
} from "../../dsl/index.ts";

export interface TextConfig {
  readonly [key: string]: number | string | boolean;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlp: number;
  readonly vocab: number;
  /** Tokens of a text, the padding included; 0 leaves the number open. */
  readonly context: number;
  readonly epsilon: number;
  /** Biases on q, k, v and o, as InternLM has. */
  readonly attentionBias: boolean;
  readonly rotaryBase: number;
}

/** Multilingual LLaMA-7B (Chinese-LLaMA-Alpaca), the text side of InternVL: 6,885,494,784 parameters with lm_head. */
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

export interface TextAxes {
  readonly batch: Axis<"batch">;
  readonly token: Axis<"token">;
  readonly embed: Axis<"embed">;
  readonly heads: Axis<"heads">;
  readonly headDim: Axis<"head_dim">;
  readonly hidden: Axis<"hidden">;
  readonly vocab: Axis<"vocab">;
}

export const textAxes = (c: TextConfig): TextAxes => ({
  batch: axis("batch", "batch"),
  token: axis("token", c.context === 0 ? "token" : c.context),
  embed: axis("embed", c.width),
  heads: axis("heads", c.heads),
  headDim: axis("head_dim", c.width / c.heads),
  hidden: axis("hidden", c.mlp),
  vocab: axis("vocab", c.vocab),
});

export type TextTokens = Tensor<"batch" | "token" | "embed">;
export type Ids = Tensor<"batch" | "token">;
/** True where a token may look at a key. */
export type Visible = Tensor<"batch" | "token" | "key_token">;

/** Causal, and never at padding (id 0), wherever the padding is. */
export function causalVisible(ids: Ids, a: TextAxes): Visible {
  const key = axis("key_token", a.token.size);
  const earlier = le(iota(key), iota(a.token));
  return and(earlier, gt(rename(ids, a.token, key), 0));
}

function selfAttention(p: Params, x: TextTokens, a: TextAxes, c: TextConfig, visible: Visible): TextTokens {
  const key = axis("key_token", a.token.size);
  const bias = { bias: c.attentionBias, init: normal(0.02) };
  const project = (name: string) => linear(p.scope(name), x, [a.embed], [a.heads, a.headDim], bias);
  const position = iota(a.token);
  const q = rotary(project("q_proj"), position, a.headDim, c.rotaryBase);
  const k = rename(rotary(project("k_proj"), position, a.headDim, c.rotaryBase), a.token, key);
  const v = rename(project("v_proj"), a.token, key);
  const mixed = attention(q, k, v, { dot: a.headDim, over: key }, visible);
  return linear(p.scope("o_proj"), mixed, [a.heads, a.headDim], [a.embed], bias);
}

/** Pre-norm decoder layer. */
export function decoderLayer(p: Params, x: TextTokens, a: TextAxes, c: TextConfig, visible: Visible): TextTokens {
  const attended = selfAttention(
    p.scope("self_attn"),
    rmsNorm(p.scope("input_layernorm"), x, [a.embed], c.epsilon),
    a,
    c,
    visible,
  );
  const y = add(x, attended);
  return add(
    y,
    swiGlu(p.scope("mlp"), rmsNorm(p.scope("post_attention_layernorm"), y, [a.embed], c.epsilon), a.embed, a.hidden),
  );
}

/** Hidden states after the final norm: ids i32 [batch, token] -> [batch, token, embed]. */
export function llama(p: Params, ids: Ids, c: TextConfig): TextTokens {
  const a = textAxes(c);
  const visible = causalVisible(ids, a);
  let x: TextTokens = embedding(p.scope("embed_tokens"), ids, a.vocab, a.embed);
  for (let i = 0; i < c.depth; i++) x = decoderLayer(p.scope(`layers.${i}`), x, a, c, visible);
  return rmsNorm(p.scope("norm"), x, [a.embed], c.epsilon);
}

/** The state of the last token that is not padding, where EOS stands. [batch, token, embed] -> [batch, embed] */
export function eosFeature(hidden: TextTokens, ids: Ids, a: TextAxes): Tensor<"batch" | "embed"> {
  const last = sub(sum(cast(gt(ids, 0), "i32"), a.token), 1);
  return gather(hidden, last, a.token);
}
