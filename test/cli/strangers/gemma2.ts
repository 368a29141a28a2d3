/**
 * Gemma 2 as somebody else would write it. Gemma Team 2024, arXiv:2408.00118; names of transformers' Gemma2ForCausalLM.
 */
import * as h from "../../../dsl/index.ts";

const config = {
  ...{ width: 16, depth: 2, heads: 4, keyHeads: 2, head: 8, mlp: 24, vocab: 259, positions: 64 },
  ...{ window: 6, base: 10000, scalar: 16, attentionCap: 50, finalCap: 30 },
};
type Settings = { readonly [K in keyof typeof config]: number };
type Tokens = h.Tensor<"batch" | "token" | "embed">;

const axesOf = (c: Settings, token: h.Axis<"token"> = h.newTokens()) => ({
  batch: h.axis("batch", "batch"),
  token,
  embed: h.axis("embed", c.width),
  heads: h.axis("heads", c.keyHeads),
  group: h.axis("group", c.heads / c.keyHeads),
  headDim: h.axis("head_dim", c.head),
  hidden: h.axis("hidden", c.mlp),
  vocab: h.axis("vocab", c.vocab),
});
type Axes = ReturnType<typeof axesOf>;
const bare = { bias: false } as const;

/** The stored scale is its difference from 1. */
const norm = (p: h.Params, x: Tokens, a: Axes): Tokens =>
  h.mul(h.rmsNorm(p, x, [a.embed], { scale: false }), h.add(p.parameter("weight", [a.embed], h.zeros), 1));

const cap = <A extends string>(x: h.Tensor<A>, bound: number): h.Tensor<A> => h.mul(h.tanh(h.div(x, bound)), bound);

function attention(
  p: h.Params,
  x: Tokens,
  a: Axes,
  c: Settings,
  context: h.TokenContext,
  visible: h.Tensor<"batch" | "token" | "key_token">,
  past: h.LayerMemory | undefined,
) {
  const at = context.position as h.Tensor<"batch" | "token">;
  const states = (name: string) => h.linear(p.scope(name), x, [a.embed], [a.heads, a.headDim], bare);
  const turned = h.rotary(states("k_proj"), at, a.headDim, c.base);
  const memory = {
    key: h.withPast(turned, a.token, context.key, past?.key),
    value: h.withPast(states("v_proj"), a.token, context.key, past?.value),
  };
  const query = h.linear(p.scope("q_proj"), x, [a.embed], [a.heads, a.group, a.headDim], bare);
  const options = { dot: a.headDim, over: context.key, scale: c.scalar ** -0.5, softcap: c.attentionCap };
  const mixed = h.attention(h.rotary(query, at, a.headDim, c.base), memory.key, memory.value, options, visible);
  return { out: h.linear(p.scope("o_proj"), mixed, [a.heads, a.group, a.headDim], [a.embed], bare) as Tokens, memory };
}

function decoder(
  root: h.Params,
  ids: h.Tensor<"batch" | "token">,
  a: Axes,
  c: Settings,
  context: h.TokenContext,
  past: readonly h.LayerMemory[] = [],
) {
  const p = root.scope("model");
  const memory: h.LayerMemory[] = [];
  let x: Tokens = h.scale(h.embedding(p.scope("embed_tokens"), ids, a.vocab, a.embed), c.width ** 0.5);
  const near = h.and(context.visible, h.lt(h.keyDistance(context), c.window)) as typeof context.visible;
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`layers.${i}`);
    const visible = i % 2 === 0 ? near : context.visible;
    const normed = norm(layer.scope("input_layernorm"), x, a);
    const made = attention(layer.scope("self_attn"), normed, a, c, context, visible, past[i]);
    memory.push(made.memory);
    x = h.add(x, norm(layer.scope("post_attention_layernorm"), made.out, a));
    const [mlp, inner] = [layer.scope("mlp"), norm(layer.scope("pre_feedforward_layernorm"), x, a)];
    const [gate, up] = ["gate_proj", "up_proj"].map((n) => h.linear(mlp.scope(n), inner, [a.embed], [a.hidden], bare));
    const down: Tokens = h.linear(mlp.scope("down_proj"), h.mul(h.geluTanh(gate!), up!), [a.hidden], [a.embed], bare);
    x = h.add(x, norm(layer.scope("post_feedforward_layernorm"), down, a));
  }
  const table = p.shared().scope("embed_tokens").parameter("weight", [a.vocab, a.embed], h.normal(0.02));
  const logits = h.contract(norm(p.scope("norm"), x, a), table, a.embed);
  return { logits: h.transpose(cap(logits, c.finalCap), [a.batch, a.token, a.vocab]), memory };
}

const layout: readonly h.TensorRule[] = h.under("model", "model", [
  h.same("embed_tokens.weight", "vocab embed"),
  h.same("norm.weight", "embed"),
  ...h.under("layers.{}", "layers.{}", [
    h.same("self_attn.q_proj.weight", "heads*group*head_dim embed"),
    ...["k", "v"].map((n) => h.same(`self_attn.${n}_proj.weight`, "heads*head_dim embed")),
    h.same("self_attn.o_proj.weight", "embed heads*group*head_dim"),
    ...["gate", "up"].map((n) => h.same(`mlp.${n}_proj.weight`, "hidden embed")),
    h.same("mlp.down_proj.weight", "embed hidden"),
    ...["input", "post_attention", "pre_feedforward", "post_feedforward"].map((n) =>
      h.same(`${n}_layernorm.weight`, "embed"),
    ),
  ]),
]);

const fields = {
  width: "hidden_size",
  depth: "num_hidden_layers",
  heads: "num_attention_heads",
  keyHeads: "num_key_value_heads",
  head: "head_dim",
  mlp: "intermediate_size",
  vocab: "vocab_size",
  positions: "max_position_embeddings",
  window: "sliding_window",
  scalar: "query_pre_attn_scalar",
  attentionCap: "attn_logit_softcapping",
  finalCap: "final_logit_softcapping",
} as const;

export default h.defineModel<Settings>({
  name: "gemma2",
  summary: "Gemma 2: scores of the next token",
  config,
  rules: { base: h.positive, scalar: h.positive, attentionCap: h.positive, finalCap: h.positive },
  build: (p, c) => {
    const a = axesOf(c);
    const ids = h.input("ids", "i32", [a.batch, a.token]);
    return { logits: decoder(p, ids, a, c, h.wholeTexts(ids, a.token, -1)).logits };
  },
  graphs: {
    decode: {
      summary: "more tokens after those remembered",
      build: (p, c) => {
        const a = axesOf(c);
        const { ids, context, past } = h.decoderInputs(a, c.depth, "step");
        const { logits, memory } = decoder(p, ids, a, c, context, past);
        return { logits, ...h.presentOutputs(memory, a) };
      },
    },
  },
  modes: { generate: { step: "decode", limit: (c) => c.positions } },
  checkpoints: {
    layouts: [layout],
    config: {
      types: ["gemma2"],
      read: (json, c) => ({
        ...c,
        ...Object.fromEntries(Object.entries(fields).map(([key, field]) => [key, json[field] as number])),
        base: (json.rope_parameters as { readonly rope_theta: number }).rope_theta,
      }),
      write: (c) => ({
        architectures: ["Gemma2ForCausalLM"],
        model_type: "gemma2",
        hidden_activation: "gelu_pytorch_tanh",
        rms_norm_eps: 1e-6,
        tie_word_embeddings: true,
        rope_parameters: { rope_type: "default", rope_theta: c.base },
        ...Object.fromEntries(Object.entries(fields).map(([key, field]) => [field, c[key as keyof Settings]])),
      }),
    },
  },
});
