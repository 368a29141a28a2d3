// Embeds images and texts in one space, where those that belong together are close.
// Change anything. What you see on the right follows while you type.
import * as h from "../../dsl/index.ts";

const config = {
  width: 96, // of a token
  heads: 4,
  depth: 2, // of each tower
  image: 32, // side of an image in pixels
  patch: 4, // side of a patch
  vocab: 2000,
  context: 12, // tokens of a text
  feature: 96, // width of the shared embedding space
};
type Config = typeof config;
type Vectors = h.Tensor<"batch" | "feature">;

const batch = h.axis("batch", "batch");
const other = h.axis("other", "batch"); // the same rows, as columns of a table

const axesOf = (c: Config) => ({
  embed: h.axis("embed", c.width),
  feature: h.axis("feature", c.feature),
  heads: h.axis("heads", c.heads),
  dim: h.axis("dim", c.width / c.heads),
});

/** Pre-norm transformer blocks: attention over all tokens, then an MLP on each. */
function blocks(p: h.Params, x: h.Tokens, c: Config, causal: boolean): h.Tokens {
  const { embed } = axesOf(c);
  for (let i = 0; i < c.depth; i++) {
    const block = p.scope(`block.${i}`);
    const seen = h.layerNorm(block.scope("norm1"), x, [embed]);
    x = h.add(x, h.multiHeadAttention(block.scope("attn"), seen, { heads: c.heads, causal }));
    const own = h.layerNorm(block.scope("norm2"), x, [embed]);
    x = h.add(x, h.geluMlp(block.scope("mlp"), own, embed, h.axis("hidden", 4 * c.width)));
  }
  return x;
}

/** Pixels to an embedding, and the attention that each patch received. */
function picture(p: h.Params, c: Config): { image: Vectors; attention: h.Tensor<"batch" | "token"> } {
  const { embed, feature, heads, dim } = axesOf(c);
  const axes = h.imageAxes(c.image);
  const token = h.axis("token", (c.image / c.patch) ** 2);
  const pixels = h.input("pixels", "f32", [batch, axes.channel, axes.row, axes.column]);
  let x: h.Tokens = h.patchEmbedding(p.scope("patches"), pixels, axes, c.patch, embed, token);
  x = h.add(x, p.parameter("positions", [token, embed], h.normal(0.02)));
  x = h.layerNorm(p.scope("norm"), blocks(p, x, c, false), [embed]);

  // Attention pooling: a learned query attends to all patches.
  const question = p.parameter("question", [heads, dim], h.normal(1));
  const keys = h.linear(p.scope("keys"), x, [embed], [heads, dim]);
  const values = h.linear(p.scope("values"), x, [embed], [heads, dim]);
  const fit = h.scale(h.contract(keys, question, dim), (c.width / c.heads) ** -0.5);
  const look = h.softmax(fit, token);
  const answer = h.contract(look, values, token);
  const mapped = h.linear(p.scope("out"), answer, [heads, dim], [feature]);
  return { image: h.l2Normalize(mapped, feature), attention: h.mean(look, heads) };
}

/** Ids to an embedding, read off at the end token, which attends to all others. */
function text(p: h.Params, c: Config): Vectors {
  const { embed, feature } = axesOf(c);
  const token = h.axis("token", c.context);
  const ids = h.input("ids", "i32", [batch, token]);
  let x: h.Tokens = h.embedding(p.scope("words"), ids, h.axis("vocab", c.vocab), embed);
  x = h.add(x, p.parameter("positions", [token, embed], h.normal(0.02)));
  x = h.layerNorm(p.scope("norm"), blocks(p, x, c, true), [embed]);
  const end = h.argmax(h.cast(h.eq(ids, 2), "i32"), token); // id 2 ends a text
  return h.l2Normalize(h.linear(p.scope("out"), h.gather(x, end, token), [embed], [feature]), feature);
}

const towers = (p: h.Params, c: Config) => ({
  ...picture(p.scope("picture"), c),
  text: text(p.scope("text"), c),
});

/** Every image must match its text among those of the batch, and every text its image. Radford et al. 2021. */
function loss(p: h.Params, c: Config): h.LossResult {
  const { image, text } = towers(p, c);
  const { feature } = axesOf(c);
  const sharpness = h.exp(p.parameter("sharpness", [], h.constantInit(Math.log(14)), { within: [0, Math.log(100)] }));
  const table = h.mul(h.contract(image, h.rename(text, batch, other), feature), sharpness);
  const pictures = h.mean(h.crossEntropy(table, h.iota(batch), other), batch);
  const texts = h.mean(h.crossEntropy(table, h.iota(other), batch), other);
  const right = h.mean(h.cast(h.eq(h.argmax(table, other), h.iota(batch)), "f32"), batch);
  return { loss: h.scale(h.add(pictures, texts), 0.5), metrics: { right } };
}

export default h.defineModel<Config>({
  name: "emoji-search",
  summary: "images of emoji and their names in one embedding space",
  config,
  build: towers,
  preprocessing: h.imagenetPreprocessing,
  stages: {
    contrastive: (c, { steps = 600, batch = 64, rate = 1.5e-3 } = {}) => ({
      config: c,
      steps,
      batch,
      rate,
      startsFrom: [],
      stage: h.defineStage({
        name: "contrastive",
        loss: (p) => loss(p, c),
        optimizer: {
          rate: h.cosine({ peak: rate, steps, warmup: Math.ceil(steps / 20) }),
          weightDecay: 0.1,
          clip: 1,
        },
      }),
    }),
  },
});
