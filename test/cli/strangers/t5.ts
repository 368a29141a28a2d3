/**
 * T5 as somebody else would write it. Raffel et al. 2020, arXiv:1910.10683; names of transformers'
 * T5ForConditionalGeneration.
 */
import * as h from "../../../dsl/index.ts";

const config = { width: 32, encoders: 2, decoders: 2, heads: 2, head: 16, mlp: 64, vocab: 259, buckets: 32, far: 128 };
type Settings = { readonly [K in keyof typeof config]: number };
type Tokens = h.Tensor<"batch" | "token" | "embed">;
type Bias = h.Tensor<"heads" | "token" | "key_token" | "batch">;

const axesOf = (c: Settings, token: h.Axis<"token"> = h.newTokens()) => ({
  batch: h.axis("batch", "batch"),
  token,
  source: h.sourceTokens(),
  embed: h.axis("embed", c.width),
  heads: h.axis("heads", c.heads),
  headDim: h.axis("head_dim", c.head),
  vocab: h.axis("vocab", c.vocab),
});
type Axes = ReturnType<typeof axesOf>;

/** The bucket of a distance of at least 0: half of `count` for one distance each, the others for ever wider ranges. */
function bucketOf(distance: h.AnyTensor, count: number, far: number): h.AnyTensor {
  const exact = count / 2;
  const wide = (d: number) => Math.fround((Math.log(d / exact) / Math.log(far / exact)) * (count - exact));
  const starts = Array.from({ length: count - exact - 1 }, (_, i) => {
    let d = exact;
    while (wide(d) < i + 1) d++;
    return d;
  });
  const passed = starts.map((start) => h.cast(h.ge(distance, start), "i32") as h.AnyTensor);
  return passed.reduce((sum, one) => h.add(sum, one), h.min(distance, exact) as h.AnyTensor);
}

/** Learned values of the distance from a token to a key, shared by all layers. */
function positionBias(p: h.Params, distance: h.AnyTensor, isEncoder: boolean, a: Axes, c: Settings): Bias {
  const count = isEncoder ? c.buckets / 2 : c.buckets;
  const bucket = bucketOf(isEncoder ? h.abs(distance) : h.max(distance, 0), count, c.far);
  const after = h.mul(h.cast(h.lt(distance, 0), "i32"), count);
  const places = isEncoder ? h.add(bucket, after) : bucket;
  const own = p.scope("block.0.layer.0.SelfAttention.relative_attention_bias");
  return h.embedding(own, places, h.axis("bucket", c.buckets), a.heads) as h.AnyTensor as Bias;
}

const project = (p: h.Params, x: Tokens, a: Axes) => h.linear(p, x, [a.embed], [a.heads, a.headDim], { bias: false });
const norm = (p: h.Params, x: Tokens, a: Axes): Tokens =>
  h.rmsNorm(p.scope("layer_norm"), x, [a.embed], { epsilon: 1e-6 });
const back = (p: h.Params, mixed: h.Tensor<"batch" | "token" | "heads" | "head_dim">, a: Axes): Tokens =>
  h.linear(p, mixed, [a.heads, a.headDim], [a.embed], { bias: false });

function mlp(p: h.Params, x: Tokens, a: Axes, c: Settings): Tokens {
  const [hidden, dense] = [h.axis("hidden", c.mlp), p.scope("DenseReluDense")];
  const inner = h.relu(h.linear(dense.scope("wi"), norm(p, x, a), [a.embed], [hidden], { bias: false }));
  return h.add(x, h.linear(dense.scope("wo"), inner, [hidden], [a.embed], { bias: false }));
}

const embedded = (p: h.Params, ids: h.Tensor<"batch" | "token">, a: Axes): Tokens =>
  h.embedding(p.shared().scope("shared"), ids, a.vocab, a.embed);

/** The last states of a source text. */
function encoder(root: h.Params, { ids, visible }: h.EncoderInputs, a: Axes, c: Settings): Tokens {
  const p = root.scope("encoder");
  const key = h.axis("key_token", a.token.size);
  const bias = positionBias(p, h.sub(h.iota(a.token), h.iota(key)), true, a, c);
  let x = embedded(root, ids, a);
  for (let i = 0; i < c.encoders; i++) {
    const layer = p.scope(`block.${i}.layer.0`);
    const [attn, normed] = [layer.scope("SelfAttention"), norm(layer, x, a)];
    const [k, v] = ["k", "v"].map((name) => h.rename(project(attn.scope(name), normed, a), a.token, key));
    const dot = { dot: a.headDim, over: key, scale: 1, bias };
    const mixed = h.attention(project(attn.scope("q"), normed, a), k!, v!, dot, visible);
    x = mlp(p.scope(`block.${i}.layer.1`), h.add(x, back(attn.scope("o"), mixed, a)), a, c);
  }
  return h.rmsNorm(p.scope("final_layer_norm"), x, [a.embed], { epsilon: 1e-6 });
}

/** The source's keys and values of every decoder layer. */
const crossOf = (root: h.Params, x: Tokens, a: Axes, c: Settings): h.CrossMemory[] =>
  Array.from({ length: c.decoders }, (_, i) => {
    const attn = root.scope(`decoder.block.${i}.layer.1.EncDecAttention`);
    const states = (name: string) =>
      h.rename(project(attn.scope(name), x, a), a.token, h.axis("source_token", a.token.size));
    return { key: states("k"), value: states("v") };
  });

function decoder(
  root: h.Params,
  ids: h.Tensor<"batch" | "token">,
  context: h.TokenContext,
  cross: h.CrossInputs,
  a: Axes,
  c: Settings,
  past: readonly h.LayerMemory[] = [],
) {
  const p = root.scope("decoder");
  const memory: h.LayerMemory[] = [];
  const bias = positionBias(p, h.keyDistance(context), false, a, c);
  let x = embedded(root, ids, a);
  for (let i = 0; i < c.decoders; i++) {
    const layer = (n: number) => p.scope(`block.${i}.layer.${n}`);
    const [attn, normed] = [layer(0).scope("SelfAttention"), norm(layer(0), x, a)];
    const all = (name: string, old?: h.Remembered) =>
      h.withPast(project(attn.scope(name), normed, a), a.token, context.key, old);
    const own = { key: all("k", past[i]?.key), value: all("v", past[i]?.value) };
    memory.push(own);
    const dot = { dot: a.headDim, over: context.key, scale: 1, bias };
    const mixed = h.attention(project(attn.scope("q"), normed, a), own.key, own.value, dot, context.visible);
    const y = h.add(x, back(attn.scope("o"), mixed, a));
    const { key, value } = cross.memory[i]!;
    const other = layer(1).scope("EncDecAttention");
    const query = project(other.scope("q"), norm(layer(1), y, a), a);
    const over = { dot: a.headDim, over: h.axisOf(key, "source_token"), scale: 1 };
    x = mlp(layer(2), h.add(y, back(other.scope("o"), h.attention(query, key, value, over, cross.visible), a)), a, c);
  }
  const last = h.rmsNorm(p.scope("final_layer_norm"), x, [a.embed], { epsilon: 1e-6 });
  const words = root.shared().scope("shared").parameter("weight", [a.vocab, a.embed], h.normal(0.02));
  const logits = h.contract(h.scale(last, c.width ** -0.5), words, a.embed);
  return { logits: h.transpose(logits, [a.batch, a.token, a.vocab]), memory };
}

const weight = (path: string, axes: string) => h.same(`${path}.weight`, axes);
const attention = (path: string) => [
  ...["q", "k", "v"].map((x) => weight(`${path}.${x}`, "heads*head_dim embed")),
  weight(`${path}.o`, "embed heads*head_dim"),
];
const stack = (mlpAt: number) => [
  ...attention("block.{}.layer.0.SelfAttention"),
  weight("block.{}.layer.0.SelfAttention.relative_attention_bias", "bucket heads"),
  weight("block.{}.layer.{}.layer_norm", "embed"),
  weight(`block.{}.layer.${mlpAt}.DenseReluDense.wi`, "hidden embed"),
  weight(`block.{}.layer.${mlpAt}.DenseReluDense.wo`, "embed hidden"),
  weight("final_layer_norm", "embed"),
];
const layout: readonly h.TensorRule[] = [
  weight("shared", "vocab embed"),
  ...h.under("encoder", "encoder", stack(1)),
  ...h.under("decoder", "decoder", [...stack(2), ...attention("block.{}.layer.1.EncDecAttention")]),
];

const fields = {
  width: "d_model",
  encoders: "num_layers",
  decoders: "num_decoder_layers",
  heads: "num_heads",
  head: "d_kv",
  mlp: "d_ff",
  vocab: "vocab_size",
  buckets: "relative_attention_num_buckets",
  far: "relative_attention_max_distance",
} satisfies Record<keyof Settings, string>;

export default h.defineModel<Settings>({
  name: "t5",
  summary: "T5: scores of a text's next token, given a source text",
  config,
  build: (p, c) => {
    const [source, a] = [axesOf(c, h.axis("token", h.symbol("source"))), axesOf(c)];
    const given = h.encoderInputs(source);
    const memory = crossOf(p, encoder(p, given, source, c), source, c);
    const visible = h.rename(given.visible, h.axis("key_token", source.token.size), a.source);
    const ids = h.input("decoder_input_ids", "i32", [a.batch, a.token]);
    return { logits: decoder(p, ids, h.wholeTexts(ids, a.token, -1), { memory, visible }, a, c).logits };
  },
  graphs: {
    encode: {
      summary: "the keys and values of a source text",
      build: (p, c) => {
        const a = axesOf(c, h.axis("token", h.symbol("source", { max: 512 })));
        return h.crossOutputs(crossOf(p, encoder(p, h.encoderInputs(a), a, c), a, c), a);
      },
    },
    decode: {
      summary: "more tokens after those remembered, with a source",
      build: (p, c) => {
        const a = axesOf(c);
        const { ids, context, past } = h.decoderInputs(a, c.decoders, "step", "decoder");
        const { logits, memory } = decoder(p, ids, context, h.crossInputs(a, c.decoders), a, c, past);
        return { logits, ...h.presentOutputs(memory, a, "decoder") };
      },
    },
  },
  modes: { generate: { encode: "encode", step: "decode", limit: 512, tokens: { decoderStart: 0, eos: [1] } } },
  checkpoints: {
    layouts: [layout],
    config: {
      types: ["t5"],
      read: (json, c) => ({
        ...c,
        ...Object.fromEntries(Object.entries(fields).map(([key, field]) => [key, json[field] as number])),
      }),
      write: (c) => ({
        architectures: ["T5ForConditionalGeneration"],
        model_type: "t5",
        feed_forward_proj: "relu",
        ...Object.fromEntries(Object.entries(fields).map(([key, field]) => [field, c[key as keyof Settings]])),
      }),
    },
  },
});
