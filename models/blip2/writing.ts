/**
 * BLIP-2's captioning: an image through ViT-g and the Q-Former, whose queries precede OPT's text. Li et al. 2023,
 * arXiv:2301.12597, section 3.3.
 */
import {
  type AnyTensor,
  type Axis,
  add,
  axis,
  axisOf,
  broadcast,
  concat,
  decoderInputs,
  imageAxes,
  lastOf,
  layerNorm,
  linear,
  longer,
  newTokens,
  normal,
  type Params,
  patchEmbedding,
  presentOutputs,
  type Tokens,
} from "../../dsl/index.ts";
import { type TransformerConfig, transformer } from "../clip/transformer.ts";
import { blockInit, gridOf, type Picture, pictures } from "../clip/vision.ts";
import { gpt2Axes, wholeText } from "../gpt2/index.ts";
import { type OptConfig, opt, optScores, optWords } from "./opt.ts";
import { askedQueries, type QueriesConfig } from "./qformer.ts";

/** ViT-g without its last block, all tokens of which the Q-Former attends to after a norm. */
export interface Blip2VisionConfig extends TransformerConfig {
  readonly image: number;
  readonly patch: number;
}

export interface Blip2Config {
  readonly [key: string]: number | Blip2VisionConfig | QueriesConfig | OptConfig;
  readonly vision: Blip2VisionConfig;
  readonly qformer: QueriesConfig;
  readonly text: OptConfig;
  /** The id that ends a text in addition to the tokenizer's EOS: a newline, as BLIP-2's captions end. */
  readonly stop: number;
}

const init = { init: normal(0.02) };

/** All tokens of an image, class token first: [batch, token, embed] */
function blip2Vision(p: Params, pixels: Picture, c: Blip2VisionConfig): Tokens {
  const [embed, count] = [axis("embed", c.width), gridOf(c) ** 2];
  const [patches, token]: Axis<"token">[] = [axis("token", count), axis("token", count + 1)];
  const cut: Tokens = patchEmbedding<"batch", "embed", "token">(
    p.scope("patches"),
    pixels,
    imageAxes(c.image),
    c.patch,
    embed,
    patches!,
    init,
  );
  const first = p.parameter("class_embedding", [embed], init.init);
  const all = concat([broadcast(first, [axisOf(pixels, "batch"), axis("token", 1)]), cut], token!);
  const placed: Tokens = add(all, p.parameter("positions", [token!, embed], init.init));
  const last = transformer(p.scope("blocks"), placed, c, { init: blockInit(c), causal: false }).at(-1)!;
  return layerNorm(p.scope("norm"), last, [embed], c.epsilon);
}

/** The image prefix: the queries after attending to the image, projected to OPT's width. [batch, token, embed] */
function seen(p: Params, c: Blip2Config): Tokens {
  const vision = blip2Vision(p.scope("vision"), pictures(c.vision), c.vision);
  const asked = askedQueries(p.scope("qformer"), vision, c.qformer);
  return linear(p.scope("language_projection"), asked, [axisOf(asked, "embed")], [axis("embed", c.text.width)], init);
}

/**
 * Prefill with an image: `pixels` and `input_ids`, all texts of one length. The queries precede the text, so `present`
 * has that many more tokens, and positions continue from there.
 */
export function blip2Beginning(p: Params, c: Blip2Config): Readonly<Record<string, AnyTensor>> {
  const fewer = gpt2Axes(c.text, newTokens());
  const { ids } = decoderInputs(fewer, c.text.depth, "beginning");
  const language = p.scope("language_model");
  const a = gpt2Axes(c.text, longer(fewer.token, c.qformer.queries));
  const words = concat([seen(p, c), optWords(language, ids, fewer)], a.token);
  const { last, memory } = opt(language, words, a, c.text, wholeText(a));
  return { logits: optScores(language, lastOf<"batch" | "embed">(last), a), ...presentOutputs(memory, a) };
}

/** The step, for which the image is in the KV cache. */
export function blip2Step(p: Params, c: Blip2Config): Readonly<Record<string, AnyTensor>> {
  const a = gpt2Axes(c.text, newTokens());
  const { ids, context, past } = decoderInputs(a, c.text.depth, "step");
  const language = p.scope("language_model");
  const { last, memory } = opt(language, optWords(language, ids, a), a, c.text, context, past);
  return { logits: optScores(language, last, a), ...presentOutputs(memory, a) };
}
