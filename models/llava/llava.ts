/**
 * LLaVA-1.5: an image's patches from CLIP's second-last block, through an MLP, as tokens of Vicuna. Liu et al. 2023,
 * arXiv:2310.03744, section 3; released code: llava/model.
 */
import {
  axis,
  axisOf,
  decoderInputs,
  gelu,
  lastOf,
  linear,
  newTokens,
  type OneLoss,
  type Params,
  presentOutputs,
  rename,
  type Tensor,
  type Tokens,
  transpose,
} from "../../dsl/index.ts";
import {
  answersLoss,
  causalContext,
  type Decoded,
  decoder,
  type Ids,
  imageToken,
  languageHead,
  type Outputs,
  type TextAxes,
  type TextConfig,
  type TextTokens,
  textAxes,
  type Visual,
  vicuna7b,
  vicuna13b,
  withImage,
} from "../internvl/index.ts";
import {
  type ClipVisionConfig,
  clipFeatures,
  clipLarge336,
  clipPatches,
  clipPixels,
  type Pixels,
} from "./clip-vision.ts";

export interface LlavaConfig {
  readonly [key: string]: number | ClipVisionConfig | TextConfig;
  readonly vision: ClipVisionConfig;
  /** The language model. */
  readonly text: TextConfig;
  /** The tower's state that patches are taken from, counted from the end. */
  readonly features: number;
  /** The image placeholder id, one for each image token. */
  readonly imageToken: number;
}

const over = (text: TextConfig): LlavaConfig => ({ vision: clipLarge336, text, features: -2, imageToken });

/** As the authors published it: the image id is not in the vocabulary. In transformers' form it is. */
export const llava7b = over(vicuna7b);
export const llava13b = over(vicuna13b);

/** The number of image tokens. */
export const llavaImageTokens = (c: LlavaConfig): number => clipPatches(c.vision);

/** Linear, GELU, linear (`mlp2x_gelu`). [batch, token, embed] -> [batch, visual, embed] */
function projector(p: Params, x: Tokens, width: number): Visual {
  const [token, embed] = [axisOf(x, "token"), axis("embed", width)];
  const inner: Tokens = gelu(linear(p.scope("linear_1"), x, [axisOf(x, "embed")], [embed]));
  return rename(linear(p.scope("linear_2"), inner, [embed], [embed]), token, axis("visual", token.size));
}

/** The image as tokens of the language model. */
const llavaVisual = (p: Params, pixels: Pixels, c: LlavaConfig): Visual =>
  projector(
    p.scope("multi_modal_projector"),
    clipFeatures(p.scope("vision_tower"), pixels, c.vision, c.features),
    c.text.width,
  );

/** The scope that has the language model's `model` and `lm_head`. */
export const languageModel = (p: Params): Params => p.scope("language_model");

/** Token embeddings, with the image tokens in their place. */
const embedded = (p: Params, pixels: Pixels, ids: Ids, c: LlavaConfig): TextTokens =>
  withImage(languageModel(p), llavaVisual(p, pixels, c), ids, c.text, c.imageToken);

/** The language model over a conversation with an image; padding is id 0 at the end. */
export function llava(p: Params, pixels: Pixels, ids: Ids, c: LlavaConfig): Decoded {
  const a = textAxes(c.text, axisOf(ids, "token").size);
  const context = causalContext(ids, a);
  return decoder(languageModel(p).scope("model"), embedded(p, pixels, ids, c), a, c.text, context);
}

export const llavaScores = (
  p: Params,
  hidden: TextTokens,
  a: TextAxes,
  c: LlavaConfig,
): Tensor<"batch" | "token" | "vocab"> =>
  transpose(languageHead(languageModel(p), hidden, a, c.text), [a.batch, axisOf(hidden, "token"), a.vocab]);

/** Cross-entropy of the answers' tokens. Inputs `pixels`, `ids`, and `labels` (i32 [batch, token]; -100 is ignored). */
export const llavaLoss = (p: Params, c: LlavaConfig): OneLoss =>
  answersLoss(languageModel(p), c.text, (ids) => llava(p, clipPixels(c.vision), ids, c));

/** Prefill of a chat: `pixels`, and `input_ids` with the image id as placeholder. */
export function llavaPrefill(p: Params, c: LlavaConfig): Outputs {
  const a = textAxes(c.text, newTokens().size);
  const { ids, context } = decoderInputs(a, c.text.depth, "beginning");
  const words = embedded(p, clipPixels(c.vision), ids, c);
  const { last, memory } = decoder(languageModel(p).scope("model"), words, a, c.text, context);
  return { logits: llavaScores(p, lastOf<"batch" | "embed">(last), a, c), ...presentOutputs(memory, a) };
}
