/**
 * TrOCR as somebody else would write it. Li et al. 2021, arXiv:2109.10282; names of transformers'
 * VisionEncoderDecoderModel.
 */
import * as h from "../../../dsl/index.ts";

const vision = { image: 24, patch: 8, width: 16, depth: 2, heads: 2, mlp: 32 };
const text = { width: 16, depth: 2, heads: 2, mlp: 32, vocab: 259, positions: 64 };
const config = { vision, text };
type Group<T> = { readonly [K in keyof T]: number };
type Settings = { readonly vision: Group<typeof vision>; readonly text: Group<typeof text> };
type Tokens = h.Tensor<"batch" | "token" | "embed">;

const axesOf = ({ width, heads }: Group<{ width: 0; heads: 0 }>, token: h.Axis<"token"> = h.newTokens()) => ({
  batch: h.axis("batch", "batch"),
  token,
  embed: h.axis("embed", width),
  heads: h.axis("heads", heads),
  headDim: h.axis("head_dim", width / heads),
});
type Axes = ReturnType<typeof axesOf>;

const seenBy = (c: Settings) => (c.vision.image / c.vision.patch) ** 2 + 1;
const project = (p: h.Params, x: Tokens, a: Axes) => h.linear(p, x, [h.axisOf(x, "embed")], [a.heads, a.headDim]);

function mlp(p: h.Params, x: Tokens, names: readonly [string, string], width: number, a: Axes): Tokens {
  const hidden = h.axis("hidden", width);
  const inner = h.gelu(h.linear(p.scope(names[0]), x, [a.embed], [hidden]));
  return h.linear(p.scope(names[1]), inner, [hidden], [a.embed]);
}

/** ViT: all tokens of an image, class token first. */
function vit(p: h.Params, c: Settings["vision"], tokens: number): Tokens {
  const a = axesOf(c, h.axis("token", tokens));
  const [image, patches] = [h.imageAxes(c.image), h.axis("token", tokens - 1)];
  const pixels = h.input("pixels", "f32", [a.batch, image.channel, image.row, image.column]);
  const e = p.scope("embeddings");
  const cut: Tokens = h.patchEmbedding(
    e.scope("patch_embeddings.projection"),
    pixels,
    image,
    c.patch,
    a.embed,
    patches,
  );
  const first = h.broadcast(e.parameter("cls_token", [a.embed], h.normal(0.02)), [a.batch, h.axis("token", 1)]);
  const places = e.parameter("position_embeddings", [a.token, a.embed], h.normal(0.02));
  let x: Tokens = h.add(h.concat([first, cut], a.token), places);
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`encoder.layer.${i}`);
    const normed = h.layerNorm(layer.scope("layernorm_before"), x, [a.embed], 1e-12);
    const heads = (name: string) => project(layer.scope(`attention.attention.${name}`), normed, a);
    const key = h.axis("key_token", tokens);
    const [k, v] = [h.rename(heads("key"), a.token, key), h.rename(heads("value"), a.token, key)];
    const mixed = h.attention(heads("query"), k, v, { dot: a.headDim, over: key });
    x = h.add(x, h.linear(layer.scope("attention.output.dense"), mixed, [a.heads, a.headDim], [a.embed]));
    const again = h.layerNorm(layer.scope("layernorm_after"), x, [a.embed], 1e-12);
    x = h.add(x, mlp(layer, again, ["intermediate.dense", "output.dense"], c.mlp, a));
  }
  return h.layerNorm(p.scope("layernorm"), x, [a.embed], 1e-12);
}

/** The image's keys and values of every decoder layer. */
function crossOf(root: h.Params, c: Settings): h.CrossMemory[] {
  const x = vit(root.scope("encoder"), c.vision, seenBy(c));
  const a = axesOf(c.text);
  return Array.from({ length: c.text.depth }, (_, i) => {
    const attn = root.scope(`decoder.model.decoder.layers.${i}.encoder_attn`);
    const source = h.axis("source_token", seenBy(c));
    const states = (name: string) => h.rename(project(attn.scope(name), x, a), h.axisOf(x, "token"), source);
    return { key: states("k_proj"), value: states("v_proj") };
  });
}

function decoder(
  root: h.Params,
  ids: h.Tensor<"batch" | "token">,
  context: h.TokenContext,
  cross: readonly h.CrossMemory[],
  c: Settings["text"],
  past: readonly h.LayerMemory[] = [],
) {
  const a = axesOf(c, h.axisOf(ids, "token"));
  const p = root.scope("decoder.model.decoder");
  const vocab = h.axis("vocab", c.vocab);
  const norm = (at: h.Params, x: Tokens): Tokens => h.layerNorm(at, x, [a.embed], 1e-5);
  const words = h.scale(h.embedding(p.scope("embed_tokens"), ids, vocab, a.embed), c.width ** 0.5);
  const places = h.add(context.position as h.Tensor<"batch" | "token">, 2); // the table's first two rows are unused
  const placed = h.embedding(p.scope("embed_positions"), places, h.axis("position", c.positions + 2), a.embed);
  const memory: h.LayerMemory[] = [];
  let x: Tokens = norm(p.scope("layernorm_embedding"), h.add(words, placed));
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`layers.${i}`);
    const [attn, other] = [layer.scope("self_attn"), layer.scope("encoder_attn")];
    const out = (at: h.Params, mixed: h.Tensor<"batch" | "token" | "heads" | "head_dim">): Tokens =>
      h.linear(at.scope("out_proj"), mixed, [a.heads, a.headDim], [a.embed]);
    const all = (name: string, old?: h.Remembered) =>
      h.withPast(project(attn.scope(name), x, a), a.token, context.key, old);
    const own = { key: all("k_proj", past[i]?.key), value: all("v_proj", past[i]?.value) };
    memory.push(own);
    const over = { dot: a.headDim, over: context.key };
    const mixed = h.attention(project(attn.scope("q_proj"), x, a), own.key, own.value, over, context.visible);
    const y = norm(layer.scope("self_attn_layer_norm"), h.add(x, out(attn, mixed)));
    const { key, value } = cross[i]!;
    const query = project(other.scope("q_proj"), y, a);
    const seen = h.attention(query, key, value, { dot: a.headDim, over: h.axisOf(key, "source_token") });
    const z = norm(layer.scope("encoder_attn_layer_norm"), h.add(y, out(other, seen)));
    x = norm(layer.scope("final_layer_norm"), h.add(z, mlp(layer, z, ["fc1", "fc2"], c.mlp, a)));
  }
  const table = p.shared().scope("embed_tokens").parameter("weight", [vocab, a.embed], h.normal(0.02));
  return { logits: h.transpose(h.contract(x, table, a.embed), [a.batch, a.token, vocab]), memory };
}

const both = (path: string, axes: string) => [
  h.same(`${path}.weight`, axes),
  h.same(`${path}.bias`, axes.split(" ")[0]!),
];
const projections = (path: string, names: readonly string[]) =>
  names.flatMap((name) => both(`${path}${name}`, "heads*head_dim embed"));
const layout: readonly h.TensorRule[] = [
  ...h.under("encoder", "encoder", [
    h.same("embeddings.cls_token", "1 1 embed"),
    h.same("embeddings.position_embeddings", "1 token embed"),
    ...both("embeddings.patch_embeddings.projection", "embed channel patch_row patch_column"),
    ...projections("encoder.layer.{}.attention.attention.", ["query", "key", "value"]),
    ...both("encoder.layer.{}.attention.output.dense", "embed heads*head_dim"),
    ...both("encoder.layer.{}.intermediate.dense", "hidden embed"),
    ...both("encoder.layer.{}.output.dense", "embed hidden"),
    ...["encoder.layer.{}.layernorm_before", "encoder.layer.{}.layernorm_after", "layernorm"].flatMap((n) =>
      both(n, "embed"),
    ),
  ]),
  ...h.under("decoder.model.decoder", "decoder.model.decoder", [
    h.same("embed_tokens.weight", "vocab embed"),
    h.same("embed_positions.weight", "position embed"),
    ...both("layernorm_embedding", "embed"),
    ...h.under("layers.{}", "layers.{}", [
      ...["self_attn", "encoder_attn"].flatMap((attn) => [
        ...projections(`${attn}.`, ["q_proj", "k_proj", "v_proj"]),
        ...both(`${attn}.out_proj`, "embed heads*head_dim"),
        ...both(`${attn}_layer_norm`, "embed"),
      ]),
      ...both("fc1", "hidden embed"),
      ...both("fc2", "embed hidden"),
      ...both("final_layer_norm", "embed"),
    ]),
  ]),
];

type Json = Readonly<Record<string, number>>;

export default h.defineModel<Settings>({
  name: "trocr",
  summary: "TrOCR: scores of a text's next token, given an image",
  config,
  build: (p, c) => {
    const a = axesOf(c.text);
    const ids = h.input("decoder_input_ids", "i32", [a.batch, a.token]);
    return { logits: decoder(p, ids, h.wholeTexts(ids, a.token, -1), crossOf(p, c), c.text).logits };
  },
  graphs: {
    encode: {
      summary: "the keys and values of an image",
      build: (p, c) => h.crossOutputs(crossOf(p, c), axesOf(c.text)),
    },
    decode: {
      summary: "more tokens after those remembered, with an image",
      build: (p, c) => {
        const a = axesOf(c.text);
        const { ids, context, past } = h.decoderInputs(a, c.text.depth, "step", "decoder");
        const { memory: cross } = h.crossInputs({ ...a, source: h.axis("source_token", seenBy(c)) }, c.text.depth);
        const { logits, memory } = decoder(p, ids, context, cross, c.text, past);
        return { logits, ...h.presentOutputs(memory, a, "decoder") };
      },
    },
  },
  preprocessing: { fit: "squash", mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  modes: { caption: { encode: "encode", step: "decode", limit: (c) => c.text.positions, tokens: { decoderStart: 2 } } },
  checkpoints: {
    layouts: [layout],
    config: {
      types: ["vision-encoder-decoder"],
      read: ({ encoder, decoder: own }, c) => {
        const [v, t] = [encoder as Json, own as Json];
        return {
          ...c,
          vision: {
            image: v.image_size!,
            patch: v.patch_size!,
            width: v.hidden_size!,
            depth: v.num_hidden_layers!,
            heads: v.num_attention_heads!,
            mlp: v.intermediate_size!,
          },
          text: {
            width: t.d_model!,
            depth: t.decoder_layers!,
            heads: t.decoder_attention_heads!,
            mlp: t.decoder_ffn_dim!,
            vocab: t.vocab_size!,
            positions: t.max_position_embeddings!,
          },
        };
      },
      write: ({ vision: v, text: t }) => ({
        architectures: ["VisionEncoderDecoderModel"],
        model_type: "vision-encoder-decoder",
        encoder: {
          model_type: "vit",
          image_size: v.image,
          patch_size: v.patch,
          hidden_size: v.width,
          num_hidden_layers: v.depth,
          num_attention_heads: v.heads,
          intermediate_size: v.mlp,
        },
        decoder: {
          model_type: "trocr",
          d_model: t.width,
          decoder_layers: t.depth,
          decoder_attention_heads: t.heads,
          decoder_ffn_dim: t.mlp,
          vocab_size: t.vocab,
          max_position_embeddings: t.positions,
          cross_attention_hidden_size: v.width,
        },
      }),
    },
  },
});
