/**
 * InternViT: a plain vision transformer with QK normalization over the whole width, LayerScale and RMS norms.
 * Chen et al. 2023, arXiv:2312.14238, section 3.2 and table 1; parameter names are those of the published checkpoint.
 */
import {
  type Axis,
  add,
  at,
  attention,
  axis,
  axisOf,
  broadcast,
  type Config,
  concat,
  constantInit,
  dropPath,
  geluMlp,
  imageAxes,
  input,
  interpolatePositions,
  linear,
  mul,
  normal,
  type Params,
  patchEmbedding,
  rename,
  rmsNorm,
  slice,
  type Tensor,
  UsageError,
} from "../../dsl/index.ts";
import { keepTokens } from "./masking.ts";

export interface VisionConfig {
  readonly [key: string]: number | string;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  /** Hidden width of the MLP. */
  readonly mlp: number;
  /** Side of the square input, in pixels. */
  readonly image: number;
  readonly patch: number;
  /** Image size of the stored position embedding; 0 means `image`. */
  readonly positions: number;
  readonly dropPath: number;
  /** "uniform": the same rate in all blocks (stage 1); "linear": from 0 to the rate over depth (fine-tuning). */
  readonly dropPathRule: string;
  readonly layerScale: number;
}

/** The 6B encoder at 224 pixels: 5,902,793,600 parameters. */
export const internvit6b: VisionConfig = {
  width: 3200,
  depth: 48,
  heads: 25,
  mlp: 12800,
  image: 224,
  patch: 14,
  positions: 0,
  dropPath: 0,
  dropPathRule: "uniform",
  layerScale: 0.1,
};

/** Whether a configuration, or a part of one, is an InternViT's. */
export const isVision = (config: Config[string] | undefined): config is VisionConfig =>
  typeof config === "object" && Object.keys(internvit6b).every((key) => Object.hasOwn(config, key));

export interface VisionAxes {
  readonly batch: Axis<"batch">;
  /** The class token and the patches. */
  readonly token: Axis<"token">;
  readonly embed: Axis<"embed">;
  readonly heads: Axis<"heads">;
  readonly headDim: Axis<"head_dim">;
  readonly hidden: Axis<"hidden">;
}

/** The number of patches of an image. Throws UsageError if the patch size does not divide it. */
export const patchCount = (c: VisionConfig): number => gridOf(c, "image") ** 2;

/** Patches along a side of the image, or of the stored position grid. */
function gridOf(c: VisionConfig, of: "image" | "positions"): number {
  if (c[of] % c.patch === 0) return c[of] / c.patch;
  throw new UsageError(`${of} ${c[of]} is not divisible by the patch size, ${c.patch}`);
}

/**
 * The state after a block, counted from the end if negative. Throws UsageError, naming the setting, if there is no such
 * block.
 */
export function stateAt(states: readonly VisionTokens[], block: number, setting: string): VisionTokens {
  const found = states.at(block);
  if (found) return found;
  throw new UsageError(
    `${setting}: InternViT has ${states.length - 1} blocks, so its states are 0 to ${states.length - 1}`,
  );
}

/** The head size. Throws UsageError if the heads do not divide the width. */
export function headWidth(c: { readonly width: number; readonly heads: number }): number {
  if (c.width % c.heads === 0) return c.width / c.heads;
  throw new UsageError(`width ${c.width} is not divisible by ${c.heads} heads`);
}

export function visionAxes(c: VisionConfig, batch: Axis<"batch"> = axis("batch", "batch")): VisionAxes {
  return {
    batch,
    token: axis("token", patchCount(c) + 1),
    embed: axis("embed", c.width),
    heads: axis("heads", c.heads),
    headDim: axis("head_dim", headWidth(c)),
    hidden: axis("hidden", c.mlp),
  };
}

export type VisionTokens = Tensor<"batch" | "token" | "embed">;
export type Pixels = Tensor<"batch" | "channel" | "row" | "column">;

/** Normalized RGB images [batch, channel, row, column]. */
export const pixelsInput = (c: VisionConfig, batch: Axis<"batch"> = axis("batch", "batch")): Pixels => {
  const image = imageAxes(c.image);
  return input("pixels", "f32", [batch, image.channel, image.row, image.column]);
};

/**
 * Self-attention over all tokens, no mask; q and k are normalized over all heads together before the split.
 * x [batch, token, embed] -> [batch, token, embed]
 */
function selfAttention(p: Params, x: VisionTokens, a: VisionAxes): VisionTokens {
  const role = axis("qkv", 3);
  const key = axis("key_token", a.token.size); // token axis in its second role
  const qkv = linear(p.scope("qkv"), x, [a.embed], [role, a.heads, a.headDim], { bias: false });
  const q = rmsNorm(p.scope("q_norm"), at(qkv, role, 0), [a.heads, a.headDim]);
  const k = rename(rmsNorm(p.scope("k_norm"), at(qkv, role, 1), [a.heads, a.headDim]), a.token, key);
  const v = rename(at(qkv, role, 2), a.token, key);
  const mixed = attention(q, k, v, { dot: a.headDim, over: key });
  return linear(p.scope("proj"), mixed, [a.heads, a.headDim], [a.embed]);
}

/** Pre-norm block with LayerScale on both branches. InternVL section 3.2; Touvron et al. 2021 (CaiT) for LayerScale. */
function visionBlock(p: Params, x: VisionTokens, a: VisionAxes, c: VisionConfig, rate: number): VisionTokens {
  const layerScale = (name: string) => p.parameter(name, [a.embed], constantInit(c.layerScale));
  const attended = selfAttention(p.scope("attn"), rmsNorm(p.scope("norm1"), x, [a.embed]), a);
  const y = add(x, dropPath(p.scope("attn"), mul(attended, layerScale("ls1")), a.batch, rate));
  const mixed = geluMlp(p.scope("mlp"), rmsNorm(p.scope("norm2"), y, [a.embed]), a.embed, a.hidden);
  return add(y, dropPath(p.scope("mlp"), mul(mixed, layerScale("ls2")), a.batch, rate));
}

/** The class token and the patches, with positions added. -> [batch, token, embed] */
function visionEmbeddings(p: Params, pixels: Pixels, a: VisionAxes, c: VisionConfig): VisionTokens {
  const one = axis("token", 1);
  const patches = axis("token", patchCount(c));
  const embedded = patchEmbedding<"batch", "embed", "token">(
    p.scope("patch_embedding"),
    pixels,
    imageAxes(c.image),
    c.patch,
    a.embed,
    patches,
  );
  const first = broadcast(p.parameter("class_embedding", [one, a.embed], normal(1)), a.batch);
  return add(concat([first, embedded], a.token), positions(p, a, c));
}

/** The position embedding [token, embed], interpolated if the stored grid differs. */
function positions(p: Params, a: VisionAxes, c: VisionConfig): Tensor<"token" | "embed"> {
  const storedGrid = gridOf(c, c.positions === 0 ? "image" : "positions");
  const stored = p.parameter("position_embedding", [axis("token", storedGrid ** 2 + 1), a.embed], normal(0.02));
  const grid = gridOf(c, "image");
  if (grid === storedGrid) return stored;
  const patches = slice(stored, a.token, 1, storedGrid ** 2);
  return concat([slice(stored, a.token, 0, 1), interpolatePositions(patches, storedGrid, grid)], a.token);
}

export interface VisionOptions {
  /** The fraction of patches kept in training: 0.5 in the first phase of stage 1. */
  readonly keep?: number;
}

/**
 * Token features after the embedding and after each block: depth + 1 tensors [batch, token, embed]. There is no norm
 * after the last block.
 */
export function internvit(p: Params, pixels: Pixels, c: VisionConfig, options: VisionOptions = {}): VisionTokens[] {
  const { keep = 1 } = options;
  const axes = visionAxes(c, axisOf(pixels, "batch"));
  const all = visionEmbeddings(p.scope("embeddings"), pixels, axes, c);
  const states = [p.training && keep < 1 ? keepTokens(p.scope("embeddings"), all, keep) : all];
  const a = { ...axes, token: axisOf(states[0]!, "token") };
  for (let i = 0; i < c.depth; i++) {
    states.push(visionBlock(p.scope(`encoder.layers.${i}`), states[i]!, a, c, dropRate(c, i)));
  }
  return states;
}

const dropRate = (c: VisionConfig, block: number): number =>
  c.dropPathRule === "linear" ? (c.dropPath * block) / Math.max(1, c.depth - 1) : c.dropPath;
