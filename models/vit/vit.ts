/**
 * The vision transformer, as ViT, DeiT and DINOv2 have it. Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1; what the others
 * add is cited where it stands. Parameter names are timm's, but for queries, keys and values, which are apart.
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
  /** Inner width of the MLP: of a gated one, of either half. */
  readonly mlp: number;
  readonly patch: number;
  /** Pixels of the picture that the stored positions are for, which are interpolated to another; 0 means `image`. */
  readonly positions: number;
  readonly epsilon: number;
  /** What classes are told from: "class", the class token; "distilled", that and a second one; "mean", that and the mean patch. */
  readonly head: string;
  /** Tokens without a place of their own; default none. Darcet et al. 2024, arXiv:2309.16588. */
  readonly registers: number;
  /** What the scales of the branches begin as; 0 for branches without. Touvron et al. 2021, arXiv:2103.17239, section 2. */
  readonly layerScale: number;
  /** "gelu", or "swiglu". */
  readonly feedForward: string;
  /** Of the last block; it rises from 0. */
  readonly dropPath: number;
}

/** Tokens before those of patches that positions are added to. */
export const placed = (c: VitConfig): number => (c.head === "distilled" ? 2 : 1);

/** Tokens before those of patches. */
export const tokensBefore = (c: VitConfig): number => placed(c) + c.registers;

/** Patches along a side of the picture, or of the one that the stored positions are for. */
function gridOf(c: VitConfig, of: "image" | "positions"): number {
  const side = of === "positions" && c.positions === 0 ? c.image : c[of];
  if (side % c.patch === 0) return side / c.patch;
  throw new UsageError(`${of} ${side} cannot be filled with patches of ${c.patch} pixels: make it a multiple`);
}

/** How positions are interpolated: with registers smoothed where the grid is smaller, as DINOv2 has it. */
export const resampling = (c: VitConfig): ResizeWeights => (c.registers > 0 ? antialiasedBicubic : bicubic);

/** The learned positions [token, embed], interpolated where the stored grid is another. */
function positions(p: Params, c: VitConfig): Tensor<"token" | "embed"> {
  const [before, from, to] = [placed(c), gridOf(c, "positions"), gridOf(c, "image")];
  const token = axis("token", before + from * from);
  const stored = p.parameter("pos_embed", [token, axis("embed", c.width)], normal(0.02));
  if (from === to) return stored;
  const patches = interpolatePositions(slice(stored, token, before, from * from), from, to, resampling(c));
  return concat([slice(stored, token, 0, before), patches], axis("token", before + to * to));
}

/** The tokens that go into the first block. Equation 1. */
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

/** All tokens after the last norm: [batch, token, embed]. Equation 4. */
export function vitFeatures(p: Params, pixels: Pixels, c: VitConfig): Tokens {
  const last = vitStates(p, pixels, c).at(-1)!;
  return layerNorm(p.scope("norm"), last, [axisOf(last, "embed")], c.epsilon);
}

/** pixels [batch, channel, row, column] -> scores [batch, class] */
export function vitScores(p: Params, pixels: Pixels, c: VitConfig): Scores {
  const x = vitFeatures(p, pixels, c);
  const [token, embed] = [axisOf(x, "token"), axisOf(x, "embed")];
  const toClasses = (name: string, y: Tensor<"batch" | "embed">): Scores =>
    linear<"batch" | "embed", "embed", "class">(p.scope(name), y, [axisOf(y, "embed")], [axis("class", c.classes)]);
  const first = at(x, token, 0);
  // DeiT: the mean of both heads where nothing is distilled. Touvron et al. 2021, arXiv:2012.12877, section 4.
  if (c.head === "distilled") return scale(add(toClasses("head", first), toClasses("head_dist", at(x, token, 1))), 0.5);
  if (c.head === "class") return toClasses("head", first);
  // DINOv2's linear classifier of one layer. Oquab et al. 2023, arXiv:2304.07193, appendix B.3.
  const before = tokensBefore(c);
  const patches = slice(x, token, before, (token.size as number) - before);
  return toClasses("head", concat([first, mean(patches, axisOf(patches, "token"))], embed));
}
