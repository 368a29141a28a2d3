/**
 * Flamingo: a frozen language model that reads interleaved images and text. A Perceiver resampler makes 64 latents of
 * each image or video, and gated cross-attention layers before some of the language model's blocks attend to those of
 * the last image. Alayrac et al. 2022, arXiv:2204.14198, sections 2 and A.1. The paper's encoder, NFNet-F6, is frozen
 * and not published: images are given as features, or encoded by CLIP's vision transformer, as in OpenFlamingo
 * (Awadalla et al. 2023, arXiv:2308.01390, section 3).
 */
import {
  type AnyTensor,
  type Axis,
  add,
  attention,
  axis,
  axisOf,
  bilinear,
  broadcast,
  type CrossMemory,
  cast,
  concat,
  constantInit,
  contract,
  type Dim,
  eq,
  gt,
  idiv,
  input,
  iota,
  layerNorm,
  le,
  linear,
  lt,
  merge,
  mul,
  multiHeadAttention,
  normal,
  type OneLoss,
  type Params,
  relu,
  rename,
  slice,
  sum,
  symbol,
  type Tensor,
  type Tokens,
  table,
  tanh,
  times,
} from "../../dsl/index.ts";
import type { ClipVisionConfig } from "../clip/vision.ts";
import {
  type Gpt2Config,
  gpt2Axes,
  gpt2Block,
  gpt2Embedded,
  gpt2Last,
  gpt2NextLoss,
  gpt2Scores,
  wholeText,
} from "../gpt2/index.ts";
import { towerFeatures } from "./pictures.ts";

/** The number of layers of one kind, and their heads. */
export interface TrainedLayers {
  readonly [key: string]: number;
  readonly heads: number;
  readonly headDim: number;
  /** Width of their MLPs. */
  readonly mlp: number;
}

export interface FlamingoConfig {
  readonly [key: string]: number | TrainedLayers | Gpt2Config | ClipVisionConfig;
  /** CLIP's tower, whose patches are the features; depth 0 if features are given. */
  readonly vision: ClipVisionConfig;
  /** Width of an image's features and latents: [..., embed] */
  readonly visionWidth: number;
  /** Patches of one frame. */
  readonly places: number;
  /** Frames of one image or video; an image has 1. */
  readonly frames: number;
  /** Frames that the resampler has time positions for; more frames interpolate them. */
  readonly times: number;
  readonly latents: number;
  readonly resampler: TrainedLayers & { readonly depth: number };
  readonly gated: TrainedLayers & {
    /** A gated layer precedes every `every`-th block of the language model, starting with the first. */
    readonly every: number;
  };
  readonly text: Gpt2Config;
  /** The image placeholder id. */
  readonly imageToken: number;
  /** The id that ends the text about an image. */
  readonly endToken: number;
}

const epsilon = 1e-5;
const affine = { bias: false, init: normal(0.02) };

type Ids = Tensor<"batch" | "token">;
/** Features of the images of each text: f32 [batch, media, frame, place, embed] */
export type Media = Tensor<"batch" | "media" | "frame" | "place" | "embed">;

/** The input of image features; the number of images is symbolic. */
const mediaInput = (c: FlamingoConfig): Media =>
  input("vision", "f32", [
    axis("batch", "batch"),
    axis("media", symbol("media")),
    axis("frame", c.frames),
    axis("place", c.places),
    axis("embed", c.visionWidth),
  ]);

const norm = (p: Params, x: Tokens): Tokens => layerNorm(p, x, [axisOf(x, "embed")], epsilon);

/** relu(x)²: So et al. 2021, arXiv:2109.08668. x [..., embed] -> the same */
function feedForward(p: Params, x: Tokens, width: number): Tokens {
  const [embed, hidden] = [axisOf(x, "embed"), axis("hidden", width)];
  const inner = relu(linear(p.scope("fc1"), norm(p.scope("norm"), x), [embed], [hidden], affine));
  return linear(p.scope("fc2"), mul(inner, inner), [hidden], [embed], affine);
}

/**
 * Resamples each image to latents, which all gated layers attend to: [batch, media, token, embed], of `latents` tokens;
 * without `batch` if `media` has none.
 */
export function resampled(p: Params, media: AnyTensor, c: FlamingoConfig): AnyTensor {
  const each = media.type.axes
    .filter(({ name }) => name === "batch" || name === "media")
    .map((a) => axisOf(media, a.name));
  const embed = axis("embed", c.visionWidth);
  const timed = add(media, positionsInTime(p, c));
  const seen = axis("token", c.frames * c.places);
  const features: AnyTensor = merge(timed, [axisOf(timed, "frame"), axisOf(timed, "place")], seen);
  const latents = p.parameter("latents", [axis("token", c.latents), embed], normal(0.02));
  let x = broadcast(latents, each) as AnyTensor as Tokens; // and media, which is a batch axis of attention
  for (let i = 0; i < c.resampler.depth; i++) {
    const layer = p.scope(`layers.${i}`);
    const { heads, headDim, mlp } = c.resampler;
    const [query, shown] = [norm(layer.scope("norm_latents"), x), norm(layer.scope("norm_media"), features as Tokens)];
    const both = concat([shown, query], seen);
    x = add(x, multiHeadAttention(layer.scope("attn"), query, { heads, headDim, seen: both, ...affine }));
    x = add(x, feedForward(layer.scope("ff"), x, mlp));
  }
  return norm(p.scope("norm"), x);
}

/** Time positions of the frames. -> [frame, embed] */
function positionsInTime(p: Params, c: FlamingoConfig): Tensor<"frame" | "embed"> {
  const [stored, frame] = [axis("time", c.times), axis("frame", c.frames)];
  const learned = p.parameter("time", [stored, axis("embed", c.visionWidth)], normal(0.02));
  if (c.frames <= c.times) return rename(slice(learned, stored, 0, c.frames), axis("time", c.frames), frame);
  return contract(table(bilinear(c.times, c.frames), [frame, stored]), learned, stored);
}

/** All latents concatenated, and a mask of those that a token sees: those of the last image before it, or none. */
interface Shown {
  readonly latents: Tokens;
  readonly visible: Tensor<"batch" | "token" | "source_token">;
  /** Latents of each text's last image; zeros if it has none. [batch, token, embed] */
  readonly last: Tokens;
}

/**
 * What texts see of their images: their own, or without `batch` the images of all texts, one text after the other.
 * resampledMedia [batch, media, token, embed] or [media, token, embed]
 */
export function shownTo(ids: Ids, resampledMedia: AnyTensor, c: FlamingoConfig): Shown {
  const [batch, token, media] = [axisOf(ids, "batch"), axisOf(ids, "token"), axisOf(resampledMedia, "media")];
  const isShared = !resampledMedia.type.axes.some(({ name }) => name === "batch");
  const all: Axis<"token"> = axis("token", times(media, c.latents).size as Dim);
  const merged: AnyTensor = merge(resampledMedia, [media, axisOf(resampledMedia, "token")], all);
  const latents = (isShared ? broadcast(merged, [batch]) : merged) as Tokens;
  const other = axis("other_token", token.size);
  const images = cast(eq(rename(ids, token, other), c.imageToken), "f32");
  const own = contract(images, cast(le(iota(other), iota(token)), "f32"), other); // includes an image's own token
  const count: AnyTensor = sum(images, other);
  /** Image indices from 1 where a token or text has an image, else 0. */
  const numbered = (ownCount: AnyTensor): AnyTensor =>
    isShared ? mul(add(ownCount, inTextsBefore(count)), cast(gt(ownCount, 0), "f32")) : ownCount;
  const owner = cast(add(idiv(iota(axis("source_token", all.size)), c.latents), 1), "f32");
  const isLast = cast(eq(numbered(count), broadcast(cast(add(iota(media), 1), "f32"), batch)), "f32");
  return {
    latents,
    visible: eq(numbered(own), broadcast(owner, batch)) as Shown["visible"],
    last: contract(isLast, resampledMedia, media) as AnyTensor as Tokens,
  };
}

/** Exclusive prefix sum over texts: f32 [batch] -> [batch] */
function inTextsBefore(count: AnyTensor): AnyTensor {
  const batch = axisOf(count, "batch");
  const other = axis("other_text", batch.size);
  return contract(rename(count, batch, other), cast(lt(iota(other), iota(batch)), "f32"), other);
}

/** Keys and values of latents [batch, token, embed] for a gated layer. */
export function latentMemory(p: Params, latents: Tokens, { gated }: FlamingoConfig): CrossMemory {
  const [token, heads, each] = [axisOf(latents, "token"), axis("heads", gated.heads), axis("head_dim", gated.headDim)];
  const source = axis("source_token", token.size);
  const project = (name: string) =>
    rename(linear(p.scope(name), latents, [axisOf(latents, "embed")], [heads, each], affine), token, source);
  return { key: project("k"), value: project("v") };
}

/**
 * A gated cross-attention layer, whose two gates start closed so that the language model is unchanged at first. x
 * [batch, token, embed] -> the same. Without `visible`, tokens see all latents.
 */
export function gatedLayer(
  p: Params,
  x: Tokens,
  { key, value }: CrossMemory,
  visible: Shown["visible"] | undefined,
  c: FlamingoConfig,
): Tokens {
  const gate = (name: string) => tanh(p.parameter(name, [], constantInit(0)));
  const [embed, heads, each] = [axisOf(x, "embed"), axisOf(key, "heads"), axisOf(key, "head_dim")];
  const attn = p.scope("attn");
  const query = linear(attn.scope("q"), norm(p.scope("norm"), x), [embed], [heads, each], affine);
  const mixed = attention(query, key, value, { dot: each, over: axisOf(key, "source_token") }, visible);
  const y = add(x, mul(linear(attn.scope("out"), mixed, [heads, each], [embed], affine), gate("attn_gate")));
  return add(y, mul(feedForward(p.scope("ff"), y, c.gated.mlp), gate("ff_gate")));
}

/** The index of the gated layer before a block of the language model; undefined if there is none. */
export const gatedBefore = (block: number, { gated }: FlamingoConfig): number | undefined =>
  block % gated.every === 0 ? block / gated.every : undefined;

/** The number of gated layers. */
export const gatedCount = ({ text, gated }: FlamingoConfig): number => Math.ceil(text.depth / gated.every);

/** The image features: given, or computed from `pixels` by the tower. [batch, media, ...] or [media, ...] */
export const mediaOf = (p: Params, c: FlamingoConfig): AnyTensor =>
  c.vision.depth === 0 ? mediaInput(c) : towerFeatures(p.scope("vision"), c);

/** The language model's states after its final norm. */
export function flamingo(p: Params, media: AnyTensor, ids: Ids, c: FlamingoConfig): Tokens {
  const a = gpt2Axes(c.text, axisOf(ids, "token") as Parameters<typeof gpt2Axes>[1]);
  const [lm, context] = [p.scope("lm"), wholeText(a)];
  const { latents, visible } = shownTo(ids, resampled(p.scope("perceiver"), media, c), c);
  let x = gpt2Embedded(lm, ids, a, c.text, context);
  for (let i = 0; i < c.text.depth; i++) {
    const gated = gatedBefore(i, c);
    const layer = p.scope(`gated.${gated}`);
    if (gated !== undefined) x = gatedLayer(layer, x, latentMemory(layer.scope("attn"), latents, c), visible, c);
    x = gpt2Block(lm.scope(`h.${i}`), x, a, c.text, context).x;
  }
  return gpt2Last(lm, x, a, c.text);
}

export const flamingoAxes = (c: FlamingoConfig) => gpt2Axes(c.text);

/** Next-token logits: [batch, token, vocab] */
export const flamingoScores = (p: Params, last: Tokens, c: FlamingoConfig) =>
  gpt2Scores(p.scope("lm"), last, flamingoAxes(c));

/** The trained parameters; the language model and the tower are frozen. */
export const flamingoTrainable: readonly string[] = ["perceiver.**", "gated.**"];

/**
 * The mean next-token cross-entropy, for custom jobs that train `flamingoTrainable`. Inputs: `vision`, or `pixels`
 * [batch = media, ...] with a tower; `ids` and `labels`, i32 [batch, token], the same ids but -100 for tokens to
 * ignore.
 */
export function flamingoLoss(p: Params, c: FlamingoConfig): OneLoss {
  const a = flamingoAxes(c);
  const [ids, labels] = [input("ids", "i32", [a.batch, a.token]), input("labels", "i32", [a.batch, a.token])];
  return gpt2NextLoss(p.scope("lm"), flamingo(p, mediaOf(p, c), ids, c), labels, a);
}
