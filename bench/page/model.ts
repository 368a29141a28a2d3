/** A vision transformer with the input names that transformers.js expects; by default the published ViT-Ti. */
import * as h from "../../dsl/index.ts";

export default h.defineModel({
  name: "page-vit",
  summary: "a vision transformer for images of 224 pixels",
  config: { width: 192, depth: 12, heads: 3, image: 224, patch: 16, labels: 1000 },
  build: (p, c) => {
    const tokens = (c.image / c.patch) ** 2;
    const [batch, token, key] = [h.axis("batch", "batch"), h.axis("token", tokens), h.axis("key_token", tokens)];
    const [embed, hidden] = [h.axis("embed", c.width), h.axis("hidden", 4 * c.width)];
    const [heads, dim] = [h.axis("heads", c.heads), h.axis("dim", c.width / c.heads)];
    const [image, label] = [h.imageAxes(c.image), h.axis("label", c.labels)];
    type Tokens = h.Tensor<"batch" | "token" | "embed">;
    const attend = (block: h.Params, x: Tokens): Tokens => {
      const project = (name: string) => h.linear(block.scope(name), x, [embed], [heads, dim]);
      const [k, v] = [h.rename(project("k"), token, key), h.rename(project("v"), token, key)];
      const mixed = h.attention(project("q"), k, v, { dot: dim, over: key });
      return h.linear(block.scope("out"), mixed, [heads, dim], [embed]);
    };
    const pixels = h.input("pixel_values", "f32", [batch, image.channel, image.row, image.column]);
    const patch = p.scope("patch");
    let x: Tokens = h.patchEmbedding<"batch", "embed", "token">(patch, pixels, image, c.patch, embed, token);
    x = h.add(x, p.parameter("position", [token, embed], h.normal(0.02)));
    for (let i = 0; i < c.depth; i++) {
      const block = p.scope(`block.${i}`);
      x = h.add(x, attend(block.scope("attn"), h.layerNorm(block.scope("norm1"), x, [embed])));
      x = h.add(x, h.geluMlp(block.scope("mlp"), h.layerNorm(block.scope("norm2"), x, [embed]), embed, hidden));
    }
    const pooled = h.mean(h.layerNorm(p.scope("norm"), x, [embed]), token);
    return { logits: h.linear(p.scope("head"), pooled, [embed], [label]) };
  },
});
