/**
 * GPT-2: a causal pre-norm decoder with layer norms, learned positions and biases everywhere; the output matrix is the
 * embedding table. Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3; scopes are
 * those of the published checkpoints.
 */
import {
  add,
  at,
  attention,
  axis,
  axisOf,
  broadcast,
  cast,
  causalMask,
  contract,
  crossEntropy,
  div,
  embedding,
  ge,
  geluTanh,
  input,
  iota,
  type LayerMemory,
  layerNorm,
  linear,
  longer,
  max,
  mul,
  normal,
  type OneLoss,
  type Params,
  slice,
  sum,
  symbol,
  type Tensor,
  type TokenContext,
  type Tokens,
  transpose,
  UsageError,
  withPast,
} from "../../dsl/index.ts";

export interface Gpt2Config {
  readonly [key: string]: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlp: number;
  readonly vocab: number;
  /** Maximum positions of tokens. */
  readonly positions: number;
  readonly epsilon: number;
}

type Ids = Tensor<"batch" | "token">;

/** The axes of a decoder; by default texts are of any length up to the number of positions. */
export function gpt2Axes(c: Gpt2Config, token = axis("token", symbol("token", { max: c.positions }))) {
  if (c.width % c.heads !== 0) throw new UsageError(`width ${c.width} is not divisible by ${c.heads} heads`);
  return {
    batch: axis("batch", "batch"),
    token,
    embed: axis("embed", c.width),
    heads: axis("heads", c.heads),
    headDim: axis("head_dim", c.width / c.heads),
    hidden: axis("hidden", c.mlp),
    vocab: axis("vocab", c.vocab),
  };
}
export type Gpt2Axes = ReturnType<typeof gpt2Axes>;

/**
 * Positions and causal mask of whole texts: ids [batch, token]; padding must be at the end, where causality hides it.
 */
export function wholeText(a: Gpt2Axes): TokenContext {
  const key = axis("key_token", a.token.size);
  return { position: iota(a.token), visible: broadcast(causalMask(a.token, key), a.batch), key };
}

const [inner, outer] = [{ init: normal(0.02) }, (c: Gpt2Config) => ({ init: normal(0.02 / Math.sqrt(2 * c.depth)) })];

/**
 * Self-attention with a fused query, key and value matrix. x [batch, token, embed] -> the same, and the layer's KV
 * cache.
 */
function attend(p: Params, x: Tokens, a: Gpt2Axes, c: Gpt2Config, { key, visible }: TokenContext, past?: LayerMemory) {
  const role = axis("qkv", 3);
  const qkv = linear(p.scope("c_attn"), x, [a.embed], [role, a.heads, a.headDim], inner);
  const memory: LayerMemory = {
    key: withPast(at(qkv, role, 1), a.token, key, past?.key),
    value: withPast(at(qkv, role, 2), a.token, key, past?.value),
  };
  const mixed = attention(at(qkv, role, 0), memory.key, memory.value, { dot: a.headDim, over: key }, visible);
  return { mixed: linear(p.scope("c_proj"), mixed, [a.heads, a.headDim], [a.embed], outer(c)), memory };
}

/** Token and position embeddings: ids i32 [batch, token] -> [batch, token, embed] */
export function gpt2Embedded(p: Params, ids: Ids, a: Gpt2Axes, c: Gpt2Config, { position }: TokenContext): Tokens {
  const places = axis("position", c.positions);
  const words = embedding(p.scope("wte"), ids, a.vocab, a.embed);
  return add(words, embedding(p.scope("wpe"), position as Ids, places, a.embed, 0.01));
}

/** One block: x [batch, token, embed] -> the same, and its KV cache. */
export function gpt2Block(
  p: Params,
  x: Tokens,
  a: Gpt2Axes,
  c: Gpt2Config,
  context: TokenContext,
  past?: LayerMemory,
): { readonly x: Tokens; readonly memory: LayerMemory } {
  const norm = (name: string) => (y: Tokens) => layerNorm(p.scope(name), y, [a.embed], c.epsilon);
  const mlp = p.scope("mlp");
  const mixed = (y: Tokens): Tokens => {
    const hidden = geluTanh(linear(mlp.scope("c_fc"), y, [a.embed], [a.hidden], inner));
    return linear(mlp.scope("c_proj"), hidden, [a.hidden], [a.embed], outer(c));
  };
  const attended = attend(p.scope("attn"), norm("ln_1")(x), a, c, context, past);
  const y = add(x, attended.mixed);
  return { x: add(y, mixed(norm("ln_2")(y))), memory: attended.memory };
}

/** The norm after the last block. */
export const gpt2Last = (p: Params, x: Tokens, a: Gpt2Axes, c: Gpt2Config): Tokens =>
  layerNorm(p.scope("ln_f"), x, [a.embed], c.epsilon);

export interface Gpt2Decoded {
  /** After the final norm: [batch, token, embed] */
  readonly last: Tokens;
  /** One for each layer. */
  readonly memory: readonly LayerMemory[];
}

/** All layers and the final norm over ids i32 [batch, token]. */
export function gpt2(
  p: Params,
  ids: Ids,
  a: Gpt2Axes,
  c: Gpt2Config,
  context: TokenContext,
  past: readonly LayerMemory[] = [],
): Gpt2Decoded {
  const memory: LayerMemory[] = [];
  let x = gpt2Embedded(p, ids, a, c, context);
  for (let i = 0; i < c.depth; i++) {
    const made = gpt2Block(p.scope(`h.${i}`), x, a, c, context, past[i]);
    memory.push(made.memory);
    x = made.x;
  }
  return { last: gpt2Last(p, x, a, c), memory };
}

/**
 * Next-token logits, by the embedding table that `gpt2` declared. hidden [batch, token, embed] -> [batch, token, vocab]
 */
export function gpt2Scores(p: Params, hidden: Tokens, a: Gpt2Axes): Tensor<"batch" | "token" | "vocab"> {
  const words = p.shared().scope("wte").parameter("weight", [a.vocab, a.embed], normal(0.02));
  return transpose(contract(hidden, words, a.embed), [a.batch, axisOf(hidden, "token"), a.vocab]);
}

/**
 * The mean next-token cross-entropy of `labels` i32 [batch, token], where -100 is ignored, from states after the final
 * norm.
 */
export function gpt2NextLoss(p: Params, last: Tokens, labels: Ids, a: Gpt2Axes): OneLoss {
  const fewer = longer(a.token, -1);
  const next: Ids = slice(labels, a.token, 1, fewer.size);
  const wanted = cast(ge(next, 0), "f32");
  const scores = gpt2Scores(p, slice(last, a.token, 0, fewer.size), a);
  const losses = mul(crossEntropy(scores, max(next, 0), a.vocab), wanted);
  const weight = sum(wanted, [a.batch, fewer]);
  return { loss: div(sum(losses, [a.batch, fewer]), max(weight, 1)), weight };
}

/**
 * The loss for a custom job. Inputs, i32 [batch, token]: `ids`, and `labels`, the same ids with -100 for tokens to
 * ignore, such as padding.
 */
export function gpt2Loss(p: Params, c: Gpt2Config): OneLoss {
  const a = gpt2Axes(c);
  const [ids, labels] = [input("ids", "i32", [a.batch, a.token]), input("labels", "i32", [a.batch, a.token])];
  return gpt2NextLoss(p, gpt2(p, ids, a, c, wholeText(a)).last, labels, a);
}
