/**
 * ViT-22B: attention and MLP in parallel from one norm, queries and keys normalized in each head, an attention-pooling
 * head. Dehghani et al. 2023, arXiv:2302.05442, section 2.
 */
import {
  type AnyTensor,
  add,
  at,
  axis,
  axisOf,
  broadcast,
  gelu,
  geluTanh,
  imageAxes,
  layerNorm,
  linear,
  mlp,
  multiHeadAttention,
  normal,
  type Params,
  patchEmbedding,
  residual,
  rmsNorm,
  type Tensor,
  type Tokens,
  typed,
  UsageError,
  zeros,
} from "../../dsl/index.ts";
import type { PictureConfig, Pixels, Scores } from "../classification.ts";

export interface Vit22bConfig extends PictureConfig {
  readonly [key: string]: number | string | boolean;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  /** Hidden width of the MLPs. */
  readonly mlp: number;
  readonly patch: number;
  /**
   * "rms": without centring, as the text says; "layer": with it, as the name LayerNorm and Flax's `normalize_qk` imply.
   */
  readonly norm: string;
  readonly epsilon: number;
  /** "tanh", as Flax's GELU, or "exact". */
  readonly gelu: string;
  /** Whether attention's output has a bias. */
  readonly outBias: boolean;
}

/** The norm, without a bias in either variant. */
function norm(p: Params, x: AnyTensor, over: "embed" | "head_dim", c: Vit22bConfig): AnyTensor {
  const along = [axisOf(x, over)];
  return c.norm === "rms"
    ? rmsNorm(p, x, along, c.epsilon)
    : layerNorm(p, x, along, { epsilon: c.epsilon, bias: false });
}

const feedForward = (p: Params, x: Tokens, c: Vit22bConfig): Tokens =>
  mlp(p, x, axisOf(x, "embed"), axis("hidden", c.mlp), { activation: c.gelu === "tanh" ? geluTanh : gelu });

/**
 * Attention without query, key and value biases; queries and keys are normalized over each head, with one scale for all
 * heads.
 */
function attend(p: Params, x: Tokens, c: Vit22bConfig): Tokens {
  const turn = (y: AnyTensor, which: "q" | "k") => norm(p.scope(`${which}_norm`), y, "head_dim", c);
  const y = multiHeadAttention(p, x, { heads: c.heads, bias: false, turn });
  return c.outBias ? add(y, p.scope("out").parameter("bias", [axisOf(x, "embed")], zeros)) : y;
}

/** y = x + MLP(norm x) + attention(norm x). Section 2, "parallel layers". */
function block(p: Params, x: Tokens, c: Vit22bConfig): Tokens {
  const shared = (y: Tokens): Tokens => typed(norm(p.scope("norm"), y, "embed", c));
  return residual(x, "parallel", [
    { norm: shared, of: (y) => attend(p.scope("attn"), y, c) },
    { norm: shared, of: (y) => feedForward(p.scope("mlp"), y, c) },
  ]);
}

function patchCount({ image, patch }: Vit22bConfig): number {
  if (image % patch === 0) return (image / patch) ** 2;
  throw new UsageError(`image ${image} is not divisible by the patch size, ${patch}`);
}

/** All tokens before the first block and after each: depth + 1 tensors [batch, token, embed]; no class token. */
export function vit22bStates(p: Params, pixels: Pixels, c: Vit22bConfig): Tokens[] {
  const [token, embed] = [axis("token", patchCount(c)), axis("embed", c.width)];
  const patches = patchEmbedding<"batch", "embed", "token">(
    p.scope("patch_embed"),
    pixels,
    imageAxes(c.image),
    c.patch,
    embed,
    token,
  );
  const states: Tokens[] = [add(patches, p.parameter("positions", [token, embed], normal(0.02)))];
  for (let i = 0; i < c.depth; i++) states.push(block(p.scope(`blocks.${i}`), states[i]!, c));
  return states;
}

/**
 * Attention pooling by one learned query, then an MLP. Zhai et al. 2022, arXiv:2106.04560, section 3.2. x [batch,
 * token, embed] -> [batch, embed]
 */
function pooled(p: Params, x: Tokens, c: Vit22bConfig): Tensor<"batch" | "embed"> {
  const [one, embed] = [axis("token", 1), axisOf(x, "embed")];
  const query: Tokens = broadcast(p.parameter("probe", [one, embed], normal(c.width ** -0.5)), axisOf(x, "batch"));
  const asked = multiHeadAttention(p.scope("attn"), query, { heads: c.heads, seen: x });
  const made = add(asked, feedForward(p.scope("mlp"), typed(norm(p.scope("norm"), asked, "embed", c)), c));
  return at(made, one, 0);
}

/** pixels [batch, channel, row, column] -> the image's vector [batch, embed] */
export function vit22bVector(p: Params, pixels: Pixels, c: Vit22bConfig): Tensor<"batch" | "embed"> {
  const last: Tokens = typed(norm(p.scope("norm"), vit22bStates(p, pixels, c).at(-1)!, "embed", c));
  return pooled(p.scope("pool"), last, c);
}

/** pixels [batch, channel, row, column] -> class logits [batch, class] */
export function vit22bScores(p: Params, pixels: Pixels, c: Vit22bConfig): Scores {
  const x = vit22bVector(p, pixels, c);
  return linear<"batch" | "embed", "embed", "class">(
    p.scope("head"),
    x,
    [axisOf(x, "embed")],
    [axis("class", c.classes)],
  );
}
