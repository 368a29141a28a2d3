/**
 * InternVL-Chat 1.2 and 1.5: an image, or its tiles, through InternViT-6B at 448 pixels, pixel shuffle of four patches
 * into one token, an MLP, and a language model. Chen et al. 2024, arXiv:2404.16821, section 3; released code:
 * internvl_chat.
 */
import {
  type Axis,
  add,
  axis,
  axisOf,
  cast,
  decoderInputs,
  eq,
  gather,
  gelu,
  iota,
  lastOf,
  layerNorm,
  linear,
  lt,
  merge,
  newTokens,
  type OneLoss,
  type Params,
  presentOutputs,
  rename,
  select,
  slice,
  split,
  sum,
  symbol,
  type Tensor,
  times,
  transpose,
  UsageError,
} from "../../dsl/index.ts";
import {
  answersLoss,
  causalContext,
  type Decoded,
  decoder,
  type Ids,
  internvit,
  languageHead,
  type Outputs,
  type Pixels,
  patchCount,
  pixelsInput,
  stateAt,
  type TextAxes,
  type TextConfig,
  type TextTokens,
  textAxes,
  tokenEmbedding,
  type VisionConfig,
  type VisionTokens,
  type Visual,
} from "../internvl/index.ts";

export interface InternvlChatConfig {
  readonly [key: string]: number | string | boolean | VisionConfig | TextConfig;
  readonly vision: VisionConfig;
  /** The language model. */
  readonly text: TextConfig;
  /** The InternViT state that patches are taken from, counted from the end. */
  readonly features: number;
  /** Side, in patches, of the squares that become one token. */
  readonly shrink: number;
  /** Order of the squares of patches: "v2" row by row; "v1", before 1.5, column by column. */
  readonly shuffle: string;
  /** The image placeholder id, one for each image token. */
  readonly imageToken: number;
  /** The fewest and the most tiles of an image; 1 and 1 if images are squashed whole. */
  readonly leastTiles: number;
  readonly mostTiles: number;
  /** Whether the whole image, squashed, follows its tiles if there are several. */
  readonly thumbnail: boolean;
  /** The template that the model was trained with, by name. */
  readonly chatTemplate: string;
}

/** The number of tokens of an image, or of one of its tiles. */
export function tokensOfTile({ vision, shrink }: InternvlChatConfig): number {
  const patches = patchCount(vision);
  if (Math.sqrt(patches) % shrink === 0) return patches / shrink ** 2;
  throw new UsageError(
    `shrink ${shrink}: ${Math.sqrt(patches)} patches along a side cannot be divided into squares of ${shrink} by ${shrink}`,
  );
}

/** Normalized tiles of images, their number symbolic: [batch = tiles, channel, row, column]. */
export const tilesInput = (c: InternvlChatConfig): Pixels => pixelsInput(c.vision, axis("batch", symbol("tiles")));

/**
 * Pixel shuffle: squares of neighbouring patches concatenated into one token each, the upper row first, each row from
 * left to right. x [batch, token = side², embed] -> [batch, token, embed]
 */
function squaresOfPatches(x: VisionTokens, c: InternvlChatConfig): VisionTokens {
  const [token, embed] = [axisOf(x, "token"), axisOf(x, "embed")];
  const [count, { shrink }] = [tokensOfTile(c), c];
  const [row, column] = [axis("row", Math.sqrt(count)), axis("column", Math.sqrt(count))];
  const [upper, left] = [axis("inner_row", shrink), axis("inner_column", shrink)];
  const apart = split(x, token, [row, upper, column, left]);
  const wide = axis("embed", (embed.size as number) * shrink ** 2);
  const joined = merge(apart, [upper, left, embed], wide);
  return merge(joined, c.shuffle === "v1" ? [column, row] : [row, column], axis("token", count));
}

/** Layer norm, linear, GELU, linear, to the language model's width. [batch, token, embed] -> [batch, visual, embed] */
function projector(p: Params, x: VisionTokens, width: number): Visual {
  const [token, wide, embed] = [axisOf(x, "token"), axisOf(x, "embed"), axis("embed", width)];
  const inner: VisionTokens = gelu(linear(p.scope("1"), layerNorm(p.scope("0"), x, [wide], 1e-5), [wide], [embed]));
  return rename(linear(p.scope("3"), inner, [embed], [embed]), token, axis("visual", token.size));
}

/** The tokens of each tile. */
function tileTokens(p: Params, tiles: Pixels, c: InternvlChatConfig): Visual {
  const chosen = stateAt(internvit(p.scope("vision_model"), tiles, c.vision), c.features, `features ${c.features}`);
  const patches = slice(chosen, axisOf(chosen, "token"), 1, patchCount(c.vision));
  return projector(p.scope("mlp1"), squaresOfPatches(patches, c), c.text.width);
}

/** The scope that has the language model's `model` and `lm_head`. */
export const languagePart = (p: Params): Params => p.scope("language_model");

/**
 * Token embeddings, with each `imageToken` replaced by the next tile token: of all tiles, one text after the other, or
 * with `perText` of the text's own tiles; extra placeholders repeat the last. visual [batch = tiles, visual, embed],
 * ids i32 [batch, token] -> [batch, token, embed]
 */
function embedded(p: Params, visual: Visual, ids: Ids, c: InternvlChatConfig, perText?: number): TextTokens {
  const isImage: Ids = eq(ids, c.imageToken);
  const shown = perText === undefined ? ofAllTiles(visual, isImage) : ofOwnTiles(visual, isImage, perText);
  const words = tokenEmbedding(languagePart(p).scope("model"), select(isImage, 0, ids), textAxes(c.text));
  return select(isImage, shown, words);
}

/** The tile tokens in the order of the placeholders of all texts. */
function ofAllTiles(visual: Visual, isImage: Ids): TextTokens {
  const [tiles, each] = [axisOf(visual, "batch"), axisOf(visual, "visual")];
  const all: Axis<"picture_token"> = axis("picture_token", times(tiles, each.size).size);
  const place = add(inTextBefore(isImage), inTextsBefore(isImage)) as Ids;
  return gather(merge(visual, [tiles, each], all), place, all);
}

/** The tile tokens of each text's own slots, so that no text depends on another. */
function ofOwnTiles(visual: Visual, isImage: Ids, perText: number): TextTokens {
  const [slot, each] = [axis("slot", perText), axisOf(visual, "visual")];
  const own = axis("picture_token", times(slot, each.size).size);
  const slots = split(visual, axisOf(visual, "batch"), [axisOf(isImage, "batch"), slot]);
  return gather(merge(slots, [slot, each], own), inTextBefore(isImage), own);
}

/** The number of true elements before each in its text: x bool [batch, token] -> i32 [batch, token] */
function inTextBefore(x: Ids): Ids {
  const token = axisOf(x, "token");
  const before = axis("before", token.size);
  return sum(select(lt(iota(before), iota(token)), rename(cast(x, "i32") as Ids, token, before), 0), before);
}

/** The number of true elements in earlier texts: x bool [batch, token] -> i32 [batch] */
function inTextsBefore(x: Ids): Tensor<"batch"> {
  const [batch, token] = [axisOf(x, "batch"), axisOf(x, "token")];
  const text = axis("text", batch.size);
  const inEach: Tensor<"text"> = rename(sum(cast(x, "i32") as Ids, token), batch, text);
  return sum(select(lt(iota(text), iota(batch)), inEach, 0), text);
}

/** The language model over conversations with images; padding is id 0 at the end. */
export function tiledConversation(
  p: Params,
  tiles: Pixels,
  ids: Ids,
  c: InternvlChatConfig,
  perText?: number,
): Decoded {
  const a = textAxes(c.text, axisOf(ids, "token").size);
  const words = embedded(p, tileTokens(p, tiles, c), ids, c, perText);
  return decoder(languagePart(p).scope("model"), words, a, c.text, causalContext(ids, a));
}

export const tiledScores = (
  p: Params,
  hidden: TextTokens,
  a: TextAxes,
  c: InternvlChatConfig,
): Tensor<"batch" | "token" | "vocab"> =>
  transpose(languageHead(languagePart(p), hidden, a, c.text), [a.batch, axisOf(hidden, "token"), a.vocab]);

/**
 * Cross-entropy of the answers' tokens. Inputs `pixels` [batch = tiles, ...], `ids`, and `labels` (i32 [batch, token];
 * -100 is ignored). With `perText`, each text has that many tile slots and may use all, some or none; else the tiles of
 * all texts follow one another.
 */
export const tiledLoss = (p: Params, c: InternvlChatConfig, { perText }: { readonly perText?: number } = {}): OneLoss =>
  answersLoss(languagePart(p), c.text, (ids) =>
    perText === undefined
      ? tiledConversation(p, tilesInput(c), ids, c)
      : tiledConversation(p, pixelsInput(c.vision, times(axisOf(ids, "batch"), perText)), ids, c, perText),
  );

/** Prefill of a chat: `pixels`, and `input_ids` with the image id as placeholder. */
export function tiledPrefill(p: Params, c: InternvlChatConfig): Outputs {
  const a = textAxes(c.text, newTokens().size);
  const { ids, context } = decoderInputs(a, c.text.depth, "beginning");
  const words = embedded(p, tileTokens(p, tilesInput(c), c), ids, c);
  const { last, memory } = decoder(languagePart(p).scope("model"), words, a, c.text, context);
  return { logits: tiledScores(p, lastOf<"batch" | "embed">(last), a, c), ...presentOutputs(memory, a) };
}
