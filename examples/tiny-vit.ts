/** The model of the README: a vision transformer. Try `npx heddle inspect examples/tiny-vit.ts`. */
import * as h from "../dsl/index.ts";

const [batch, token, key] = [h.axis("batch", "batch"), h.axis("token", 64), h.axis("key_token", 64)];
const [embed, hidden, heads, dim] = [
  h.axis("embed", 128),
  h.axis("hidden", 512),
  h.axis("heads", 4),
  h.axis("dim", 32),
];
const [image, label] = [h.imageAxes(64), h.axis("label", 10)];
type Tokens = h.Tensor<"batch" | "token" | "embed">;

const attend = (p: h.Params, x: Tokens): Tokens => {
  const project = (name: string) => h.linear(p.scope(name), x, [embed], [heads, dim]);
  const [k, v] = [h.rename(project("k"), token, key), h.rename(project("v"), token, key)];
  return h.linear(p.scope("out"), h.attention(project("q"), k, v, { dot: dim, over: key }), [heads, dim], [embed]);
};

export default h.defineModel({
  name: "tiny-vit",
  summary: "a vision transformer of ten classes",
  config: { depth: 4 },
  build: (p, { depth }) => {
    const pixels = h.input("pixels", "f32", [batch, image.channel, image.row, image.column]);
    let x: Tokens = h.patchEmbedding<"batch", "embed", "token">(p.scope("patch"), pixels, image, 8, embed, token);
    x = h.add(x, p.parameter("position", [token, embed], h.normal(0.02)));
    for (let i = 0; i < depth; i++) {
      const block = p.scope(`block.${i}`);
      x = h.add(x, attend(block.scope("attn"), h.layerNorm(block.scope("norm1"), x, [embed])));
      x = h.add(x, h.geluMlp(block.scope("mlp"), h.layerNorm(block.scope("norm2"), x, [embed]), embed, hidden));
    }
    return { logits: h.linear(p.scope("head"), h.mean(x, token), [embed], [label]) };
  },
});
