/** The benchmarked vision transformer, as users of jax-js would write it; see ../../model/vit.ts. */
import { type Array as JaxArray, nn, numpy as np } from "@jax-js/jax";
import type { BlockConfig, VitConfig } from "../../model/vit.ts";

/** Arrays by parameter name; functions consume the arrays that they use. */
export type Weights = { [name: string]: JaxArray };

const linear = (w: Weights, name: string, x: JaxArray): JaxArray =>
  np.matmul(x, w[`${name}.weight`]!).add(w[`${name}.bias`]!);

const layerNorm = (w: Weights, name: string, x: JaxArray): JaxArray =>
  nn.standardize(x, -1, { epsilon: 1e-5 }).mul(w[`${name}.weight`]!).add(w[`${name}.bias`]!);

function selfAttention(w: Weights, name: string, x: JaxArray, c: BlockConfig): JaxArray {
  const { batch, tokens, width, heads } = c;
  const qkv = linear(w, `${name}.qkv`, x).reshape([batch, tokens, 3, heads, width / heads]);
  const role = (i: number) => qkv.ref.slice([], [], i);
  const [q, k, v] = [role(0), role(1), role(2)] as const;
  qkv.dispose();
  return linear(w, `${name}.proj`, nn.dotProductAttention(q, k, v).reshape([batch, tokens, width]));
}

const mlp = (w: Weights, name: string, x: JaxArray): JaxArray =>
  linear(w, `${name}.fc2`, nn.gelu(linear(w, `${name}.fc1`, x), { approximate: false }));

/** x [batch, token, embed] -> [batch, token, embed]; `prefix` is prepended to the names of its weights. */
export function block(w: Weights, prefix: string, x: JaxArray, c: BlockConfig): JaxArray {
  const y = x.ref.add(selfAttention(w, `${prefix}attn`, layerNorm(w, `${prefix}norm1`, x), c));
  return y.ref.add(mlp(w, `${prefix}mlp`, layerNorm(w, `${prefix}norm2`, y)));
}

/** pixels [batch, channel, row, column], label [batch] -> the mean cross-entropy */
export function loss(w: Weights, pixels: JaxArray, label: JaxArray, c: VitConfig): JaxArray {
  const { batch, width, patch, classes } = c;
  const grid = c.image / patch;
  const cut = pixels.reshape([batch, 3, grid, patch, grid, patch]).transpose([0, 2, 4, 1, 3, 5]);
  const patches = linear(w, "patch", cut.reshape([batch, grid * grid, 3 * patch * patch]));
  const first = np.broadcastTo(w.class_token!, [batch, 1, width]);
  let x = np.concatenate([first, patches], 1).add(w.positions!);
  for (let i = 0; i < c.depth; i++) x = block(w, `blocks.${i}.`, x, c);
  const logits = linear(w, "head", layerNorm(w, "norm", x.slice([], 0)));
  return nn.logSoftmax(logits, -1).mul(nn.oneHot(label, classes)).sum(-1).mean().neg();
}
