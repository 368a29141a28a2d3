/** A vision transformer so small that a software adapter compiles its kernels in a second. */
import * as h from "../../dsl/index.ts";

const [batch, token, key] = [h.axis("batch", "batch"), h.axis("token", 4), h.axis("key_token", 4)];
const [embed, hidden, heads, dim] = [h.axis("embed", 12), h.axis("hidden", 20), h.axis("heads", 2), h.axis("dim", 6)];
const [image, label] = [h.imageAxes(16), h.axis("label", 5)];
type Tokens = h.Tensor<"batch" | "token" | "embed">;

/** Scores of images: pixels f32 [batch, channel, row, column]. */
export function scores(p: h.Params): h.Tensor<"batch" | "label"> {
  const pixels = h.input("pixels", "f32", [batch, image.channel, image.row, image.column]);
  let x: Tokens = h.patchEmbedding<"batch", "embed", "token">(p.scope("patch"), pixels, image, 8, embed, token);
  const normed = h.layerNorm(p.scope("norm1"), x, [embed]);
  const project = (name: string) => h.linear(p.scope(name), normed, [embed], [heads, dim]);
  const [k, v] = [h.rename(project("k"), token, key), h.rename(project("v"), token, key)];
  const mixed = h.attention(project("q"), k, v, { dot: dim, over: key });
  x = h.add(x, h.dropPath(p, h.linear(p.scope("out"), mixed, [heads, dim], [embed]), batch, 0.1));
  x = h.add(x, h.geluMlp(p.scope("mlp"), h.layerNorm(p.scope("norm2"), x, [embed]), embed, hidden));
  return h.linear(p.scope("head"), h.mean(x, token), [embed], [label]);
}

/** The mean cross entropy of labels i32 [batch]. */
export function loss(p: h.Params): h.Tensor<never> {
  const labels = h.input("labels", "i32", [batch]);
  return h.mean(h.crossEntropy<"batch" | "label", "label">(scores(p), labels, label), batch);
}

export default h.defineModel({
  name: "tiny-vit",
  summary: "one block of a vision transformer",
  config: {},
  build: (p) => ({ logits: scores(p) }),
});
