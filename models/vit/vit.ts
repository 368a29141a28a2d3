/**
 * The vision transformer of ViT, DeiT and DINOv2. Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1; additions of
 * the others are cited where they occur. Parameter names are timm's, except that queries, keys and values are separate.
 */
import {
  add,
  antialiasedBicubic,
  at,
  axis,
  axisOf,
  bicubic,
  broadcast,
  concat,
  constantInit,
  dropPath,
  gatedMlp,
  imageAxes,
  interpolatePositions,
  layerNorm,
  linear,
  mean,
  mlp,
  mul,
  multiHeadAttention,
  normal,
  type Params,
  patchEmbedding,
  type ResizeWeights,
  residual,
  scale,
  slice,
  type Tensor,
  type Tokens,
  UsageError,
} from "../../dsl/index.ts";
import type { PictureConfig, Pixels, Scores } from "../classification.ts";

export interface VitConfig extends PictureConfig {
  readonly [key: string]: number | string;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  /** Hidden width of the MLP; for a gated one, of each half. */
  readonly mlp: number;
  readonly patch: number;
  /** Image size of the stored positions, which are interpolated to another; 0 means `image`. */
  readonly positions: number;
  readonly epsilon: number;
  /**
   * What is classified: "class", the class token; "distilled", that and a distillation token; "mean", that and the mean
   * patch.
   */
  readonly head: string;
  /** Register tokens; default none. Darcet et al. 2024, arXiv:2309.16588. */
  readonly registers: number;
  /** Initial value of LayerScale; 0 disables it. Touvron et al. 2021, arXiv:2103.17239, section 2. */
  readonly layerScale: number;
  /** "gelu", or "swiglu". */
  readonly feedForward: string;
  /** Drop path rate of the last block, rising linearly from 0 over depth. */
  readonly dropPath: number;
}

/** Tokens before the patches that have positions. */
export const placed = (c: VitConfig): number => (c.head === "distilled" ? 2 : 1);

/** Tokens before the patches. */
export const tokensBefore = (c: VitConfig): number => placed(c) + c.registers;

/** Patches along a side of the image, or of the stored position grid. */
function gridOf(c: VitConfig, of: "image" | "positions"): number {
  const side = of === "positions" && c.positions === 0 ? c.image : c[of];
  if (side % c.patch === 0) return side / c.patch;
  throw new UsageError(`${of} ${side} is not divisible by the patch size, ${c.patch}`);
}

/** How positions are interpolated: antialiased with registers, as in DINOv2. */
export const resampling = (c: VitConfig): ResizeWeights => (c.registers > 0 ? antialiasedBicubic : bicubic);

/** The position embedding [token, embed], interpolated if the stored grid differs. */
function positions(p: Params, c: VitConfig): Tensor<"token" | "embed"> {
  const [before, from, to] = [placed(c), gridOf(c, "positions"), gridOf(c, "image")];
  const token = axis("token", before + from * from);
  const stored = p.parameter("pos_embed", [token, axis("embed", c.width)], normal(0.02));
  if (from === to) return stored;
  const patches = interpolatePositions(slice(stored, token, before, from * from), from, to, resampling(c));
  return concat([slice(stored, token, 0, before), patches], axis("token", before + to * to));
}

/** The input tokens of the first block. Equation 1. */
function embeddings(p: Params, pixels: Pixels, c: VitConfig): Tokens {
  const [token, embed] = [axis("token", gridOf(c, "image") ** 2), axis("embed", c.width)];
  const patches = patchEmbedding<"batch", "embed", "token">(
    p.scope("patch_embed.proj"),
    pixels,
    imageAxes(c.image),
    c.patch,
    embed,
    token,
  );
  const batch = axisOf(pixels, "batch");
  const learned = (name: string, count = 1): Tokens =>
    broadcast(p.parameter(name, [axis("token", count), embed], normal(0.02)), batch);
  const first = [learned("cls_token"), ...(c.head === "distilled" ? [learned("dist_token")] : [])];
  const x: Tokens = add(concat([...first, patches], token), positions(p, c));
  if (c.registers === 0) return x;
  const all = axisOf(x, "token");
  const rest = slice(x, all, placed(c), (all.size as number) - placed(c));
  return concat([slice(x, all, 0, placed(c)), learned("reg_token", c.registers), rest], all);
}

/** Pre-norm attention and MLP. Equations 2 and 3. */
function block(p: Params, x: Tokens, c: VitConfig, rate: number): Tokens {
  const embed = axisOf(x, "embed");
  const norm = (name: string) => (y: Tokens) => layerNorm(p.scope(name), y, [embed], c.epsilon);
  const branch = (name: string, scaled: string, of: (q: Params, y: Tokens) => Tokens) => (y: Tokens) => {
    const made = of(p.scope(name), y);
    const sized =
      c.layerScale === 0 ? made : mul(made, p.scope(scaled).parameter("gamma", [embed], constantInit(c.layerScale)));
    return dropPath(p.scope(name), sized, axisOf(x, "batch"), rate);
  };
  const hidden = axis("hidden", c.mlp);
  const feedForward = (q: Params, y: Tokens): Tokens =>
    c.feedForward === "swiglu" ? gatedMlp(q, y, embed, hidden, { bias: true }) : mlp(q, y, embed, hidden);
  const attend = (q: Params, y: Tokens): Tokens => multiHeadAttention(q, y, { heads: c.heads });
  return residual(x, "pre-norm", [
    { norm: norm("norm1"), of: branch("attn", "ls1", attend) },
    { norm: norm("norm2"), of: branch("mlp", "ls2", feedForward) },
  ]);
}

/** All tokens before the first block and after each: depth + 1 tensors [batch, token, embed]. */
export function vitStates(p: Params, pixels: Pixels, c: VitConfig): Tokens[] {
  const states = [embeddings(p, pixels, c)];
  for (let i = 0; i < c.depth; i++) {
    const rate = (c.dropPath * i) / Math.max(1, c.depth - 1);
    states.push(block(p.scope(`blocks.${i}`), states[i]!, c, rate));
  }
  return states;
}

/** All tokens after the final norm: [batch, token, embed]. Equation 4. */
export function vitFeatures(p: Params, pixels: Pixels, c: VitConfig): Tokens {
  const last = vitStates(p, pixels, c).at(-1)!;
  return layerNorm(p.scope("norm"), last, [axisOf(last, "embed")], c.epsilon);
}

/** pixels [batch, channel, row, column] -> class logits [batch, class] */
export function vitScores(p: Params, pixels: Pixels, c: VitConfig): Scores {
  const x = vitFeatures(p, pixels, c);
  const [token, embed] = [axisOf(x, "token"), axisOf(x, "embed")];
  const toClasses = (name: string, y: Tensor<"batch" | "embed">): Scores =>
    linear<"batch" | "embed", "embed", "class">(p.scope(name), y, [axisOf(y, "embed")], [axis("class", c.classes)]);
  const first = at(x, token, 0);
  // DeiT: at inference, the mean of both heads. Touvron et al. 2021, arXiv:2012.12877, section 4.
  if (c.head === "distilled") return scale(add(toClasses("head", first), toClasses("head_dist", at(x, token, 1))), 0.5);
  if (c.head === "class") return toClasses("head", first);
  // DINOv2's linear classifier of one layer. Oquab et al. 2023, arXiv:2304.07193, appendix B.3.
  const before = tokensBefore(c);
  const patches = slice(x, token, before, (token.size as number) - before);
  return toClasses("head", concat([first, mean(patches, axisOf(patches, "token"))], embed));
}
