/**
 * ViCLIP: CLIP's vision transformer over all patches of all frames at once. Wang et al. 2023, arXiv:2307.06942, section
 * 4.1; released code viclip_vision.py.
 */
import {
  type AnyTensor,
  type Axis,
  add,
  at,
  axis,
  axisOf,
  broadcast,
  concat,
  imageAxes,
  input,
  layerNorm,
  mean,
  merge,
  normal,
  type Params,
  patchEmbedding,
  rename,
  slice,
  type Tensor,
  type Tokens,
  zeros,
} from "../../dsl/index.ts";
import { transformer } from "../clip/transformer.ts";
import { blockInit, type ClipVisionConfig, classVector, gridOf, type Picture, type Vector } from "../clip/vision.ts";
import { keepTokens } from "../internvl/masking.ts";

export interface ViclipVisionConfig extends ClipVisionConfig {
  /** Frames of a clip. */
  readonly frames: number;
  /** Drop path rate, as in `TransformerOptions`. */
  readonly dropPath: number;
}

/** A clip of several frames. */
export type Clip = Tensor<"batch" | "frame" | "channel" | "row" | "column">;

/** Normalized RGB frames: f32 [batch, frame, channel, row, column]. */
export function clips({ image, frames }: ViclipVisionConfig): Clip {
  const { channel, row, column } = imageAxes(image);
  return input("frames", "f32", [axis("batch", "batch"), axis("frame", frames), channel, row, column]);
}

export interface ViclipOptions {
  /** The fraction of patches kept in training; default all. */
  readonly keep?: number;
}

/**
 * The states before the first block and after each, class token first: [batch, token, embed]. Tokens are ordered by
 * patch, then by frame; an image is one frame with the mean time position.
 */
export function viclipStates(
  p: Params,
  pixels: Clip | Picture,
  c: ViclipVisionConfig,
  { keep = 1 }: ViclipOptions = {},
): Tokens[] {
  const [embed, init, count] = [axis("embed", c.width), normal(c.width ** -0.5), gridOf(c) ** 2];
  const [patch, frame] = [axis("patch", count), axis("frame", c.frames)];
  const cut: AnyTensor = patchEmbedding<string, "embed", "patch">(
    p.scope("patches"),
    pixels as AnyTensor,
    imageAxes(c.image),
    c.patch,
    embed,
    patch,
    { bias: false },
  );
  const token: Axis<"token"> = axis("token", count + 1);
  const positions = p.parameter("positions", [token, embed], init);
  const times = p.parameter("times", [frame, embed], zeros);
  const isClip = pixels.type.axes.some((a) => a.name === "frame");
  const placed: AnyTensor = add(cut, rename(slice(positions, token, 1, count), axis("token", count), patch));
  const timed: AnyTensor = isClip
    ? merge(add(placed, times), [patch, frame], axis("token", count * c.frames))
    : rename(add(placed, mean(times, frame)), patch, axis("token", count));
  const first = add(p.parameter("class_embedding", [embed], init), at(positions, token, 0));
  const batch = axisOf(pixels as Picture, "batch");
  const all = axis("token", (axisOf(timed as Tokens, "token").size as number) + 1);
  const whole: Tokens = concat([broadcast(first, [batch, axis("token", 1)]), timed as Tokens], all);
  const seen = p.training && keep < 1 ? keepTokens(p, whole, keep) : whole;
  const normed = layerNorm(p.scope("norm_pre"), seen, [embed], c.epsilon);
  return transformer(p.scope("blocks"), normed, c, { init: blockInit(c), causal: false, drop: c.dropPath });
}

/** Clips or images to vectors, before normalization: the class token after the last block. */
export const viclipVectors = (
  p: Params,
  pixels: Clip | Picture,
  c: ViclipVisionConfig,
  feature: Axis<"feature">,
  options: ViclipOptions = {},
): Vector => classVector(p, viclipStates(p, pixels, c, options).at(-1)!, c, feature);
