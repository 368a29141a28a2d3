/** SigLIP as somebody else would write it. Zhai et al. 2023, arXiv:2303.15343; names of transformers' SiglipModel. */
import * as h from "../../../dsl/index.ts";

const config = { width: 16, depth: 2, heads: 2, mlp: 24, image: 24, patch: 8, vocab: 259, context: 12 };
type Settings = { readonly [K in keyof typeof config]: number };
type Tokens = h.Tensor<"batch" | "token" | "embed">;

const axesOf = (c: Settings, tokens: number) => ({
  batch: h.axis("batch", "batch"),
  token: h.axis("token", tokens),
  embed: h.axis("embed", c.width),
  heads: h.axis("heads", c.heads),
  headDim: h.axis("head_dim", c.width / c.heads),
  hidden: h.axis("hidden", c.mlp),
});
type Axes = ReturnType<typeof axesOf>;

const norm = (p: h.Params, x: Tokens, a: Axes) => h.layerNorm(p, x, [a.embed], 1e-6);
const mlp = (p: h.Params, x: Tokens, a: Axes): Tokens =>
  h.linear(p.scope("fc2"), h.geluTanh(h.linear(p.scope("fc1"), x, [a.embed], [a.hidden])), [a.hidden], [a.embed]);

function attend(p: h.Params, query: Tokens, seen: Tokens, a: Axes): Tokens {
  const [token, key] = [h.axisOf(seen, "token"), h.axis("key_token", h.axisOf(seen, "token").size)];
  const project = (name: string, x: Tokens) => h.linear(p.scope(name), x, [a.embed], [a.heads, a.headDim]);
  const [k, v] = [h.rename(project("k_proj", seen), token, key), h.rename(project("v_proj", seen), token, key)];
  const mixed = h.attention(project("q_proj", query), k, v, { dot: a.headDim, over: key });
  return h.linear(p.scope("out_proj"), mixed, [a.heads, a.headDim], [a.embed]);
}

function encoder(p: h.Params, embedded: Tokens, a: Axes, c: Settings): Tokens {
  const positions = p.scope("embeddings.position_embedding").parameter("weight", [a.token, a.embed], h.normal(0.02));
  let x: Tokens = h.add(embedded, positions);
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`encoder.layers.${i}`);
    const normed = norm(layer.scope("layer_norm1"), x, a);
    x = h.add(x, attend(layer.scope("self_attn"), normed, normed, a));
    x = h.add(x, mlp(layer.scope("mlp"), norm(layer.scope("layer_norm2"), x, a), a));
  }
  return x;
}

/** Pixels to one vector: an attention whose one query is learned. */
function imageVector(p: h.Params, c: Settings): h.Tensor<"batch" | "embed"> {
  const a = axesOf(c, (c.image / c.patch) ** 2);
  const image = h.imageAxes(c.image);
  const pixels = h.input("pixels", "f32", [a.batch, image.channel, image.row, image.column]);
  const patches = h.patchEmbedding<"batch", "embed", "token">(
    p.scope("embeddings.patch_embedding"),
    pixels,
    image,
    c.patch,
    a.embed,
    a.token,
  );
  const seen = norm(p.scope("post_layernorm"), encoder(p, patches, a, c), a);
  const head = p.scope("head");
  const one = h.axis("token", 1);
  const probe: Tokens = h.broadcast(head.parameter("probe", [one, a.embed], h.normal(1)), a.batch);
  const attended = attend(head.scope("attention"), probe, seen, a);
  const made = h.add(attended, mlp(head.scope("mlp"), norm(head.scope("layernorm"), attended, a), a));
  return h.at(made, one, 0);
}

/** Ids to one vector: the state of the last place, padding or not. */
function textVector(p: h.Params, c: Settings): h.Tensor<"batch" | "embed"> {
  const a = axesOf(c, c.context);
  const ids = h.input("ids", "i32", [a.batch, a.token]);
  const embedded = h.embedding(p.scope("embeddings.token_embedding"), ids, h.axis("vocab", c.vocab), a.embed);
  const seen = norm(p.scope("final_layer_norm"), encoder(p, embedded, a, c), a);
  const last = h.at(seen, a.token, c.context - 1);
  return h.rename(
    h.linear(p.scope("head"), last, [a.embed], [h.axis("feature", c.width)]),
    h.axis("feature", c.width),
    a.embed,
  );
}

function vectors(p: h.Params, c: Settings) {
  const embed = h.axis("embed", c.width);
  const image = h.l2Normalize(imageVector(p.scope("vision_model"), c), embed);
  const text = h.l2Normalize(textVector(p.scope("text_model"), c), embed);
  const scale = h.exp(p.parameter("logit_scale", [], h.constantInit(Math.log(10))));
  const bias = p.parameter("logit_bias", [], h.constantInit(-10));
  return { image, text, scale, bias, embed };
}

/** Each pair of a batch is a question of its own: is this the picture's text? */
function pairLoss(p: h.Params, c: Settings): h.OneLoss {
  const { image, text, scale, bias, embed } = vectors(p, c);
  const batch = h.axisOf(image, "batch");
  const pair = h.axis("pair", batch.size);
  const logits = h.add(h.mul(h.contract(image, h.rename(text, batch, pair), embed), scale), bias);
  const sign = h.select(h.eq(h.iota(batch), h.iota(pair)), -1, 1);
  const losses = h.log(h.add(1, h.exp(h.mul(logits, sign))));
  return { loss: h.mean(h.sum(losses, pair), batch) };
}

const linear = (path: string, name: string, axes: string) => [
  { path: `${path}.weight`, name: `${name}.weight`, axes },
  { path: `${path}.bias`, name: `${name}.bias`, axes: axes.split(" ")[0]! },
];
const both = (path: string, axes: string) => linear(path, path, axes);
const normed = (path: string) => [h.same(`${path}.weight`, "embed"), h.same(`${path}.bias`, "embed")];
const mlpRules = (path: string) => [...both(`${path}.fc1`, "hidden embed"), ...both(`${path}.fc2`, "embed hidden")];
const encoderRules: readonly h.TensorRule[] = [
  h.same("embeddings.position_embedding.weight", "token embed"),
  ...h.under("encoder.layers.{}", "encoder.layers.{}", [
    ...normed("layer_norm1"),
    ...normed("layer_norm2"),
    ...["q_proj", "k_proj", "v_proj"].flatMap((x) => both(`self_attn.${x}`, "heads*head_dim embed")),
    ...both("self_attn.out_proj", "embed heads*head_dim"),
    ...mlpRules("mlp"),
  ]),
];
const layout: readonly h.TensorRule[] = [
  ...h.under("vision_model", "vision_model", [
    ...encoderRules,
    ...both("embeddings.patch_embedding", "embed channel patch_row patch_column"),
    ...normed("post_layernorm"),
    h.same("head.probe", "1 token embed"),
    ...["q", "k", "v"].flatMap((x, i): h.TensorRule[] => [
      {
        path: `head.attention.${x}_proj.weight`,
        name: "head.attention.in_proj_weight",
        axes: `${i}/3*heads*head_dim embed`,
      },
      { path: `head.attention.${x}_proj.bias`, name: "head.attention.in_proj_bias", axes: `${i}/3*heads*head_dim` },
    ]),
    ...both("head.attention.out_proj", "embed heads*head_dim"),
    ...normed("head.layernorm"),
    ...mlpRules("head.mlp"),
  ]),
  ...h.under("text_model", "text_model", [
    ...encoderRules,
    h.same("embeddings.token_embedding.weight", "vocab embed"),
    ...normed("final_layer_norm"),
    ...both("head", "feature embed"),
  ]),
  h.same("logit_scale", "1"),
  h.same("logit_bias", "1"),
];

export default h.defineModel<Settings>({
  name: "siglip",
  summary: "SigLIP: two towers, and a question for each pair",
  config,
  build: (p, c) => {
    const { image, text, scale, bias } = vectors(p, c);
    return { image, text, scale, bias };
  },
  stages: {
    pairs: (c, given) => {
      const { steps, batch, rate } = h.settled({ steps: 20, batch: 4, rate: 0.01 }, given);
      return {
        config: c,
        ...{ steps, batch, rate },
        startsFrom: ["nothing"],
        stage: h.defineStage({
          name: "pairs",
          loss: (p) => pairLoss(p, c),
          optimizer: { rate: h.cosine({ peak: rate, steps }) },
        }),
        data: h.stageData<"pairs">({
          kind: "pairs",
          image: { size: c.image, fit: "squash" },
          vocabulary: c.vocab,
          feeds: (samples, { text }) => ({
            ids: h.textRows(
              text,
              samples.map((s) => s.text),
              c.context,
            ),
          }),
        }),
      };
    },
  },
  preprocessing: { fit: "squash", mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  modes: { compare: { special: "template", classes: "independent" } },
  checkpoints: { layouts: [layout] },
});
