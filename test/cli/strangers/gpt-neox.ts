/**
 * GPT-NeoX as somebody else would write it. Black et al. 2022, arXiv:2204.06745; names of transformers'
 * GPTNeoXForCausalLM.
 */
import * as h from "../../../dsl/index.ts";

const config = { width: 32, depth: 2, heads: 2, mlp: 64, vocab: 259, positions: 64, turned: 0.25, base: 10000 };
type Settings = { readonly [K in keyof typeof config]: number };
type Tokens = h.Tensor<"batch" | "token" | "embed">;

const axesOf = (c: Settings, token: h.Axis<"token"> = h.newTokens()) => ({
  batch: h.axis("batch", "batch"),
  token,
  embed: h.axis("embed", c.width),
  heads: h.axis("heads", c.heads),
  headDim: h.axis("head_dim", c.width / c.heads),
  hidden: h.axis("hidden", c.mlp),
  vocab: h.axis("vocab", c.vocab),
});
type Axes = ReturnType<typeof axesOf>;

/** Positions turn the first part of a head alone. */
function turned(
  x: h.Tensor<"batch" | "token" | "heads" | "head_dim">,
  a: Axes,
  c: Settings,
  at: h.TokenContext["position"],
) {
  const size = (c.width / c.heads) * c.turned;
  const first = h.slice(x, a.headDim, 0, size);
  const rest = h.slice(x, a.headDim, size, c.width / c.heads - size);
  const axis = h.axis("head_dim", size);
  return h.concat([h.rotary(first, at as h.Tensor<"batch" | "token">, axis, c.base), rest], a.headDim);
}

function layers(
  p: h.Params,
  ids: h.Tensor<"batch" | "token">,
  a: Axes,
  c: Settings,
  context: h.TokenContext,
  past: readonly h.LayerMemory[],
) {
  const memory: h.LayerMemory[] = [];
  let x: Tokens = h.embedding(p.scope("embed_in"), ids, a.vocab, a.embed);
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`layers.${i}`);
    const [attn, mlp] = [layer.scope("attention"), layer.scope("mlp")];
    const normed = h.layerNorm(layer.scope("input_layernorm"), x, [a.embed], 1e-5);
    const project = (name: string) => h.linear(attn.scope(name), normed, [a.embed], [a.heads, a.headDim]);
    const key = h.withPast(turned(project("key"), a, c, context.position), a.token, context.key, past[i]?.key);
    const value = h.withPast(project("value"), a.token, context.key, past[i]?.value);
    memory.push({ key, value });
    const query = turned(project("query"), a, c, context.position);
    const mixed = h.attention(query, key, value, { dot: a.headDim, over: context.key }, context.visible);
    const attended = h.linear(attn.scope("dense"), mixed, [a.heads, a.headDim], [a.embed]);
    const again = h.layerNorm(layer.scope("post_attention_layernorm"), x, [a.embed], 1e-5);
    const inner = h.gelu(h.linear(mlp.scope("dense_h_to_4h"), again, [a.embed], [a.hidden]));
    x = h.add(x, h.add(attended, h.linear(mlp.scope("dense_4h_to_h"), inner, [a.hidden], [a.embed])));
  }
  return { last: h.layerNorm(p.scope("final_layer_norm"), x, [a.embed], 1e-5), memory };
}

const scores = (p: h.Params, x: Tokens, a: Axes) =>
  h.transpose(h.linear(p.scope("embed_out"), x, [a.embed], [a.vocab], { bias: false }), [a.batch, a.token, a.vocab]);

const fused = ["query", "key", "value"].flatMap((part, i): h.TensorRule[] => [
  {
    path: `layers.{}.attention.${part}.weight`,
    name: "layers.{}.attention.query_key_value.weight",
    axes: `heads*${i}/3*head_dim embed`,
  },
  {
    path: `layers.{}.attention.${part}.bias`,
    name: "layers.{}.attention.query_key_value.bias",
    axes: `heads*${i}/3*head_dim`,
  },
]);
const norm = (path: string) => [h.same(`${path}.weight`, "embed"), h.same(`${path}.bias`, "embed")];
const layout: readonly h.TensorRule[] = [
  ...h.under("gpt_neox", "gpt_neox", [
    h.same("embed_in.weight", "vocab embed"),
    ...fused,
    h.same("layers.{}.attention.dense.weight", "embed heads*head_dim"),
    h.same("layers.{}.attention.dense.bias", "embed"),
    h.same("layers.{}.mlp.dense_h_to_4h.weight", "hidden embed"),
    h.same("layers.{}.mlp.dense_h_to_4h.bias", "hidden"),
    h.same("layers.{}.mlp.dense_4h_to_h.weight", "embed hidden"),
    h.same("layers.{}.mlp.dense_4h_to_h.bias", "embed"),
    ...["layers.{}.input_layernorm", "layers.{}.post_attention_layernorm", "final_layer_norm"].flatMap(norm),
  ]),
  h.same("embed_out.weight", "vocab embed"),
];

const bare: h.ChatTemplate = {
  name: "bare",
  system: "",
  before: "",
  after: "\n",
  end: [{ special: "eos" }],
  begin: [],
  stops: [],
  limit: config.positions,
};

export default h.defineModel<Settings>({
  name: "gpt-neox",
  summary: "GPT-NeoX: scores of the next token",
  config,
  build: (p, c) => {
    const a = axesOf(c, h.axis("token", h.symbol("token")));
    const ids = h.input("ids", "i32", [a.batch, a.token]);
    const { last } = layers(p.scope("gpt_neox"), ids, a, c, h.wholeTexts(ids, a.token), []);
    return { logits: scores(p, last, a) };
  },
  graphs: {
    decode: {
      summary: "more tokens after those remembered",
      build: (p, c) => {
        const a = axesOf(c);
        const { ids, context, past } = h.decoderInputs(a, c.depth, "step");
        const { last, memory } = layers(p.scope("gpt_neox"), ids, a, c, context, past);
        return { logits: scores(p, last, a), ...h.presentOutputs(memory, a) };
      },
    },
  },
  stages: {
    texts: h.languageModelling<Settings>({
      scores: (p, ids, { token }, c) => {
        const a = axesOf(c, token);
        return scores(p, layers(p.scope("gpt_neox"), ids, a, c, h.wholeTexts(ids, token, -1), []).last, a);
      },
      vocab: (c) => c.vocab,
      length: (c) => c.positions,
    }),
  },
  modes: {
    generate: { step: "decode", limit: (c) => c.positions },
    chat: { step: "decode", templates: [bare] },
  },
  checkpoints: {
    layouts: [layout],
    config: {
      types: ["gpt_neox"],
      read(json, c) {
        const number = (key: string) => json[key] as number;
        const rope = json.rope_parameters as { readonly partial_rotary_factor: number; readonly rope_theta: number };
        return {
          ...c,
          width: number("hidden_size"),
          depth: number("num_hidden_layers"),
          heads: number("num_attention_heads"),
          mlp: number("intermediate_size"),
          vocab: number("vocab_size"),
          positions: number("max_position_embeddings"),
          turned: rope.partial_rotary_factor,
          base: rope.rope_theta,
        };
      },
      write: (c) => ({
        architectures: ["GPTNeoXForCausalLM"],
        model_type: "gpt_neox",
        hidden_size: c.width,
        num_hidden_layers: c.depth,
        num_attention_heads: c.heads,
        intermediate_size: c.mlp,
        vocab_size: c.vocab,
        max_position_embeddings: c.positions,
        hidden_act: "gelu",
        use_parallel_residual: true,
        tie_word_embeddings: false,
        rope_parameters: { rope_type: "default", partial_rotary_factor: c.turned, rope_theta: c.base },
      }),
    },
  },
});
