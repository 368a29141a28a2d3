/**
 * EVA's vision transformers in the three variants of EVA-CLIP: EVA-01-g, EVA-02-B and L, EVA-02-E. Sun et al. 2023,
 * arXiv:2303.15389; the blocks of EVA-02: Fang et al. 2023, arXiv:2303.11331, section 2.
 */
import {
  type AnyTensor,
  type Axis,
  add,
  at,
  axis,
  axisOf,
  cast,
  dropPath,
  gather,
  gridPositions,
  layerNorm,
  linear,
  mlp,
  mul,
  multiHeadAttention,
  type Params,
  pad,
  rename,
  rotaryGrid,
  type StateUpdate,
  scale,
  silu,
  type Tensor,
  type Tokens,
  truncatedNormal,
  typed,
} from "../../dsl/index.ts";
import type { TwoTowers } from "../clip/clip.ts";
import type { ClipTextConfig } from "../clip/text.ts";
import { embeddedPatches, gridOf, type Picture, type Vector } from "../clip/vision.ts";
import { classAndPatches, type KeptPatches, keptPatches } from "../internvl/masking.ts";

/**
 * How a block is arranged. "pre-norm": x + f(norm x) (g). "post-norm": x + norm(f x), with no norm on the residual
 * stream (E). "sub-norm": pre-norm with another norm inside each branch, a gated MLP and rotary positions (B and L).
 */
export const evaBlocks = ["pre-norm", "post-norm", "sub-norm"] as const;

export interface EvaConfig {
  readonly [key: string]: number | string;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  /** Hidden width of the MLP. */
  readonly mlp: number;
  /** Side of the square input, in pixels. */
  readonly image: number;
  readonly patch: number;
  /** One of `evaBlocks`. */
  readonly blocks: string;
  /** Drop path rate of the last block, rising linearly from 0 over depth. */
  readonly dropPath: number;
  readonly epsilon: number;
}

/** An EVA tower beside CLIP's text tower. */
export interface EvaClipConfig extends TwoTowers<EvaConfig> {
  readonly [key: string]: number | EvaConfig | ClipTextConfig;
}

/** Side of the grid to which rotary positions are scaled, whatever the image's. */
const rotaryGridSide = 16;

const init = truncatedNormal(0.02);

/** Images to vectors, before normalization: the class token after the last block. */
export function evaVectors(
  p: Params,
  pixels: Picture,
  c: EvaConfig,
  feature: Axis<"feature">,
  _updates: readonly StateUpdate[] = [],
  keep = 1,
): Vector {
  const last = evaStates(p, pixels, c, keep).at(-1)!;
  const embed = axisOf(last, "embed");
  const said = layerNorm(p.scope("norm"), at(last, axisOf(last, "token"), 0), [embed], c.epsilon);
  return linear(p.scope("head"), said, [embed], [feature], { init: truncatedNormal(0.02 * 1e-3) });
}

/**
 * The states before the first block and after each, the class token first: [batch, token, embed]. In training, a random
 * fraction `keep` of the patches is kept, each with its positions.
 */
export function evaStates(p: Params, pixels: Picture, c: EvaConfig, keep = 1): Tokens[] {
  const [embed, grid] = [axis("embed", c.width), gridOf(c)];
  const placed = embeddedPatches(p, pixels, c, embed, init, { init });
  const kept = p.training && keep < 1 ? keptPatches(p, axisOf(pixels, "batch"), grid ** 2, keep) : undefined;
  const states = [kept ? classAndPatches(placed, kept) : placed];
  const places = c.blocks === "sub-norm" ? placesOf(c, kept) : undefined;
  for (let i = 0; i < c.depth; i++) states.push(block(p.scope(`blocks.${i}`), states[i]!, c, i, places));
  return states;
}

function block(p: Params, x: Tokens, c: EvaConfig, index: number, places: Places | undefined): Tokens {
  const embed = axisOf(x, "embed");
  const rate = (c.dropPath * index) / Math.max(1, c.depth - 1);
  // The output weights of branches start smaller the deeper they are.
  const outInit = truncatedNormal(0.02 / Math.sqrt(2 * (index + 1)));
  const attend = (y: Tokens): Tokens => attention(p.scope("attn"), y, c, outInit, places);
  const mix = (y: Tokens): Tokens => mixing(p.scope("mlp"), y, c, outInit);
  return (
    [
      ["attn", "norm1", attend],
      ["mlp", "norm2", mix],
    ] as const
  ).reduce((y, [name, norm, branch]) => {
    const normed = (z: Tokens) => layerNorm(p.scope(norm), z, [embed], c.epsilon);
    const made = c.blocks === "post-norm" ? normed(branch(y)) : branch(normed(y));
    return add(y, dropPath(p.scope(name), made, axisOf(x, "batch"), rate));
  }, x);
}

/** Attention, with biases for queries and values but not for keys. */
function attention(
  p: Params,
  x: Tokens,
  c: EvaConfig,
  outInit: ReturnType<typeof truncatedNormal>,
  places: Places | undefined,
): Tokens {
  const plain = { heads: c.heads, keyBias: false, init, outInit };
  if (!places) return multiHeadAttention(p, x, plain);
  return multiHeadAttention(p, x, {
    ...plain,
    turn: (y) => rotaryGrid(y, places, axisOf(y, "head_dim"), { pairs: "interleaved" }),
    inner: (y, over) => layerNorm(p.scope("norm"), y, over as readonly Axis[], c.epsilon),
  });
}

/** The rotary positions of the tokens. */
interface Places {
  readonly row: Tensor<"batch" | "token">;
  readonly column: Tensor<"batch" | "token">;
}

/** Rows and columns of the class token and of all or the kept patches; the class token is at (0, 0): no rotation. */
function placesOf(c: EvaConfig, kept?: KeptPatches): Places {
  const grid = gridOf(c);
  const token = axis("token", kept ? axisOf(kept, "kept_token").size : grid ** 2);
  const all = gridPositions(axis("token", grid ** 2), grid);
  const counted = (place: Tensor<"token">): Tensor<"batch" | "token"> => {
    const own: AnyTensor = kept
      ? rename(gather(place, kept, axisOf(place, "token")), axisOf(kept, "kept_token"), token)
      : place;
    return typed(pad(scale(cast(own, "f32"), rotaryGridSide / grid), token, 1, 0));
  };
  return { row: counted(all.row), column: counted(all.column) };
}

function mixing(p: Params, x: Tokens, c: EvaConfig, outInit: ReturnType<typeof truncatedNormal>): Tokens {
  const [embed, hidden] = [axisOf(x, "embed"), axis("hidden", c.mlp)];
  if (c.blocks !== "sub-norm") return mlp(p, x, embed, hidden, { init, outInit });
  const [gate, up] = ["gate", "up"].map((name) => linear(p.scope(name), x, [embed], [hidden], { init }));
  const inner: AnyTensor = layerNorm(p.scope("norm"), mul(silu(gate!), up!), [hidden], c.epsilon);
  return linear<string, string, string>(p.scope("down"), inner, [hidden], [embed], { init: outInit }) as Tokens;
}
