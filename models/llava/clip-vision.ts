/**
 * CLIP's vision transformer up to the block that LLaVA uses. Radford et al. 2021, arXiv:2103.00020; transformers'
 * names.
 */
import {
  add,
  axis,
  axisOf,
  broadcast,
  concat,
  imageAxes,
  input,
  layerNorm,
  longer,
  mlp,
  multiHeadAttention,
  normal,
  type Params,
  patchEmbedding,
  quickGelu,
  residual,
  slice,
  type Tensor,
  type Tokens,
  UsageError,
} from "../../dsl/index.ts";

export interface ClipVisionConfig {
  readonly [key: string]: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlp: number;
  /** Side of the square input, in pixels. */
  readonly image: number;
  readonly patch: number;
  readonly epsilon: number;
}

/** ViT-L/14 at 336 pixels. */
export const clipLarge336: ClipVisionConfig = {
  width: 1024,
  depth: 24,
  heads: 16,
  mlp: 4096,
  image: 336,
  patch: 14,
  epsilon: 1e-5,
};

export const clipPatches = ({ image, patch }: Pick<ClipVisionConfig, "image" | "patch">): number => {
  if (image % patch === 0) return (image / patch) ** 2;
  throw new UsageError(`image ${image} is not divisible by the patch size, ${patch}`);
};

export type Pixels = Tensor<"batch" | "channel" | "row" | "column">;

/** Normalized RGB images f32 [batch, channel, row, column]. */
export const clipPixels = (c: ClipVisionConfig): Pixels => {
  const image = imageAxes(c.image);
  return input("pixels", "f32", [axis("batch", "batch"), image.channel, image.row, image.column]);
};

/**
 * The patches after some of the blocks, without the class token and the final norm: `state` counts from the end of the
 * embedding and the states after each block, -2 being the second-last block. [batch, token, embed]
 */
export function clipFeatures(p: Params, pixels: Pixels, c: ClipVisionConfig, state: number): Tokens {
  const blocks = c.depth + 1 + state;
  if (!Number.isInteger(state) || state >= 0 || blocks < 0)
    throw new UsageError(
      `features ${state}: must be from ${-c.depth - 1} to -1 for a vision tower of ${c.depth} blocks`,
    );
  const embed = axis("embed", c.width);
  const norm = (at: Params) => (x: Tokens) => layerNorm(at, x, [embed], c.epsilon);
  let x: Tokens = norm(p.scope("pre_layrnorm"))(embeddings(p.scope("embeddings"), pixels, c)); // as in the checkpoint
  for (let i = 0; i < blocks; i++) {
    const layer = p.scope(`encoder.layers.${i}`);
    x = residual(x, "pre-norm", [
      {
        norm: norm(layer.scope("layer_norm1")),
        of: (y) => multiHeadAttention(layer.scope("self_attn"), y, { heads: c.heads }),
      },
      {
        norm: norm(layer.scope("layer_norm2")),
        of: (y) => mlp(layer.scope("mlp"), y, embed, axis("hidden", c.mlp), { activation: quickGelu }),
      },
    ]);
  }
  const token = axisOf(x, "token");
  return slice(x, token, 1, longer(token, -1).size);
}

/** The class token, then the patches in row-major order, with positions. */
function embeddings(p: Params, pixels: Pixels, c: ClipVisionConfig): Tokens {
  const embed = axis("embed", c.width);
  const all = axis("token", clipPatches(c) + 1);
  const one = axis("token", 1);
  const patches = patchEmbedding<"batch", "embed", "token">(
    p.scope("patch_embedding"),
    pixels,
    imageAxes(c.image),
    c.patch,
    embed,
    longer(all, -1),
    { bias: false },
  );
  const spread = normal(c.width ** -0.5);
  const first: Tokens = broadcast(p.parameter("class_embedding", [embed], spread), [axisOf(pixels, "batch"), one]);
  const positions = p.scope("position_embedding").parameter("weight", [all, embed], spread);
  return add(concat([first, patches], all), positions);
}
