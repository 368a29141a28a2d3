/**
 * CLIP's vision transformer: a norm before the first block as well as after the last, no bias in the patch embedding.
 */
import {
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
  linear,
  normal,
  type Params,
  patchEmbedding,
  type StateUpdate,
  type Tensor,
  type Tokens,
  UsageError,
  uniform,
} from "../../dsl/index.ts";
import { keepTokens } from "../internvl/masking.ts";
import { type BlockInit, type TransformerConfig, transformer } from "./transformer.ts";

export interface ClipVisionConfig extends TransformerConfig {
  /** Side of the square input, in pixels. */
  readonly image: number;
  readonly patch: number;
}

export type Picture = Tensor<"batch" | "channel" | "row" | "column">;
export type Vector = Tensor<"batch" | "feature">;

/** Normalized RGB images: f32 [batch, channel, row, column]. */
export function pictures({ image }: { readonly image: number }): Picture {
  const { channel, row, column } = imageAxes(image);
  return input("pixels", "f32", [axis("batch", "batch"), channel, row, column]);
}

/** PyTorch's default initializers of fused projections and of linears, which the published code uses. */
export const blockInit = ({ width, mlp }: TransformerConfig): BlockInit => ({
  project: within(Math.sqrt(6 / (4 * width))),
  out: within(width ** -0.5),
  fc1: within(width ** -0.5),
  fc2: within(mlp ** -0.5),
});

const within = (bound: number) => uniform(-bound, bound);

/**
 * The tokens before the first block: a learned class token, then the embedded patches, plus learned absolute positions.
 * `init` is for the class token and the positions; pixels [batch, channel, row, column] -> [batch, token, embed]
 */
export function embeddedPatches(
  p: Params,
  pixels: Picture,
  c: { readonly image: number; readonly patch: number },
  embed: Axis<"embed">,
  init: ReturnType<typeof normal>,
  projection: Parameters<typeof patchEmbedding>[6],
): Tokens {
  const patches: Axis<"token"> = axis("token", gridOf(c) ** 2);
  const token: Axis<"token"> = axis("token", gridOf(c) ** 2 + 1);
  const cut: Tokens = patchEmbedding<"batch", "embed", "token">(
    p.scope("patches"),
    pixels,
    imageAxes(c.image),
    c.patch,
    embed,
    patches,
    projection,
  );
  const first = p.parameter("class_embedding", [embed], init);
  const all = concat([broadcast(first, [axisOf(pixels, "batch"), axis("token", 1)]), cut], token);
  return add(all, p.parameter("positions", [token, embed], init));
}

/**
 * The states before the first block and after each, the class token first: [batch, token, embed]. In training, a random
 * fraction `keep` of the patches is kept.
 */
export function visionStates(p: Params, pixels: Picture, c: ClipVisionConfig, keep = 1): Tokens[] {
  const [embed, init] = [axis("embed", c.width), normal(c.width ** -0.5)];
  const placed = embeddedPatches(p, pixels, c, embed, init, { bias: false });
  const seen = p.training && keep < 1 ? keepTokens(p, placed, keep) : placed;
  const normed = layerNorm(p.scope("norm_pre"), seen, [embed], c.epsilon);
  return transformer(p.scope("blocks"), normed, c, { init: blockInit(c), causal: false });
}

/** Images to vectors, before normalization: the class token after the last block. */
export function imageVectors(
  p: Params,
  pixels: Picture,
  c: ClipVisionConfig,
  feature: Axis<"feature">,
  _updates: readonly StateUpdate[] = [],
  keep = 1,
): Vector {
  return classVector(p, visionStates(p, pixels, c, keep).at(-1)!, c, feature);
}

/** The class token's projection: last [batch, token, embed] -> [batch, feature] */
export function classVector(p: Params, last: Tokens, c: ClipVisionConfig, feature: Axis<"feature">): Vector {
  const embed = axisOf(last, "embed");
  const said = layerNorm(p.scope("norm_post"), at(last, axisOf(last, "token"), 0), [embed], c.epsilon);
  return linear(p.scope("projection"), said, [embed], [feature], { bias: false, init: normal(c.width ** -0.5) });
}

/** Patches along a side. Throws UsageError if the patch size does not divide it. */
export function gridOf({ image, patch }: { readonly image: number; readonly patch: number }): number {
  if (image % patch === 0) return image / patch;
  throw new UsageError(`image ${image} is not divisible by the patch size, ${patch}`);
}
