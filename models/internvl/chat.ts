/**
 * InternVL-Chat: an image becomes tokens of a language model, through one MLP from InternViT's patches (path A) or
 * through two from QLLaMA's queries and the patches (path B). Chen et al. 2023, arXiv:2312.14238, section 3.4 and
 * figure 4 (c, d); released code: internvl_chat_llava.
 */
import {
  type Axis,
  and,
  axis,
  axisOf,
  cast,
  concat,
  eq,
  gather,
  ge,
  gelu,
  gt,
  input,
  iota,
  linear,
  longer,
  max,
  merge,
  neg,
  type OneLoss,
  or,
  type Params,
  reduceMax,
  rename,
  select,
  slice,
  sub,
  sum,
  type Tensor,
  times,
} from "../../dsl/index.ts";
import { tokenLoss } from "./generative-losses.ts";
import {
  internvit,
  internvit6b,
  type Pixels,
  patchCount,
  pixelsInput,
  stateAt,
  type VisionConfig,
  type VisionTokens,
} from "./internvit.ts";
import {
  causalContext,
  type Decoded,
  decoder,
  type Ids,
  type TextConfig,
  type TextTokens,
  textAxes,
  tokenEmbedding,
} from "./llama.ts";
import { type QllamaConfig, qllama8b, queryFeatures } from "./qllama.ts";

/** Path A: patches through an MLP. */
export interface ChatConfig {
  readonly [key: string]: number | VisionConfig | TextConfig;
  readonly vision: VisionConfig;
  /** The language model. */
  readonly text: TextConfig;
  /**
   * The InternViT state that patches are taken from, counted from the end: -4 is the output of the fourth-last block.
   */
  readonly features: number;
}

/** Path B: queries and patches through an MLP each. */
export interface ChatQueriesConfig extends ChatConfig {
  readonly qllama: QllamaConfig;
}

/** LLaMA-2 as in Vicuna v1.5: 6,738,415,616 parameters. */
export const vicuna7b: TextConfig = {
  width: 4096,
  depth: 32,
  heads: 32,
  mlp: 11008,
  vocab: 32000,
  context: 2048,
  epsilon: 1e-5,
  attentionBias: false,
  rotaryBase: 10000,
};

/** 13,015,864,320 parameters. */
export const vicuna13b: TextConfig = { ...vicuna7b, width: 5120, depth: 40, heads: 40, mlp: 13824 };

/** LLaMA with biases in attention: 7,321,948,160 parameters. */
export const internlm7b: TextConfig = { ...vicuna7b, vocab: 103168, epsilon: 1e-6, attentionBias: true };

const chatVision: VisionConfig = { ...internvit6b, image: 336, positions: 224 };

/** Path A at 336 pixels with a language model. */
export const chatConfig = (text: TextConfig): ChatConfig => ({ vision: chatVision, text, features: -4 });

/** Path B at 336 pixels: 96 queries and 576 patches. */
export const chatQueriesConfig = (text: TextConfig): ChatQueriesConfig => ({ ...chatConfig(text), qllama: qllama8b });

/** The image placeholder id, one for each image token. */
export const imageToken = -200;

/** Image tokens in the language model's embedding space: [batch, visual, embed]. */
export type Visual = Tensor<"batch" | "visual" | "embed">;

/** The number of image tokens: its patches, preceded in path B by the queries. */
export const visualTokenCount = (c: ChatConfig): number =>
  patchCount(c.vision) + (hasQueries(c) ? c.qllama.queries : 0);

/** Whether a chat uses path B. */
export const hasQueries = (c: ChatConfig): c is ChatQueriesConfig => "qllama" in c;

/** Linear, GELU, linear, to the language model's width. x [batch, token, embed] -> [batch, visual, embed] */
function projector(p: Params, x: VisionTokens | TextTokens, width: number): Visual {
  const [token, embed] = [axisOf(x, "token"), axis("embed", width)];
  const inner: VisionTokens = gelu(linear(p.scope("0"), x, [axisOf(x, "embed")], [embed]));
  return rename(linear(p.scope("2"), inner, [embed], [embed]), token, axis("visual", token.size));
}

/** The tokens of an image: the patches (path A), or the queries before the patches (path B). */
export function visualTokens(p: Params, pixels: Pixels, c: ChatConfig): Visual {
  const states = internvit(p.scope("vision_model"), pixels, c.vision);
  const chosen = stateAt(states, c.features, `features ${c.features}`);
  const token = axisOf(chosen, "token");
  const patches = slice(chosen, token, 1, longer(token, -1).size);
  const glue = p.scope("model.mm_projector");
  if (!hasQueries(c)) return projector(glue, patches, c.text.width);
  const queries = queryFeatures(p, states.at(-1)!, c.qllama);
  const parts = [
    projector(glue.scope("mlp2"), queries, c.text.width),
    projector(glue.scope("mlp1"), patches, c.text.width),
  ];
  return concat(parts, axisOf(parts[0]!, "visual"));
}

/**
 * Token embeddings with the image tokens substituted for the run of `id` in each row that has one. visual [batch,
 * visual, embed], ids i32 [batch, token] -> [batch, token, embed]
 */
export function withImage(p: Params, visual: Visual, ids: Ids, c: TextConfig, id = imageToken): TextTokens {
  const token = axisOf(ids, "token");
  const isImage = eq(ids, id);
  // The first position is the maximum of the negated positions.
  const first = neg(reduceMax(select(isImage, neg(iota(token)), -(2 ** 30)), token));
  const rows = gather(visual, sub(iota(token), first) as Ids, axisOf(visual, "visual"));
  return select(isImage, rows, tokenEmbedding(p.scope("model"), max(ids, 0), textAxes(c)));
}

/** The language model over a conversation with an image; padding is id 0 at the end. */
export function conversation(p: Params, pixels: Pixels, ids: Ids, c: ChatConfig): Decoded {
  const a = textAxes(c.text, axisOf(ids, "token").size);
  const embedded = withImage(p, visualTokens(p, pixels, c), ids, c.text);
  return decoder(p.scope("model"), embedded, a, c.text, causalContext(ids, a));
}

export interface StageThreeOptions {
  /**
   * The maximum number of targets of a conversation. If given, the loss reads their `places` and computes logits for
   * these only.
   */
  readonly targets?: number;
  /**
   * Whether the turns of a conversation are hidden from each other, as in as many conversations about the same image,
   * which is computed once: an earlier answer may give away a later one, and the image goes unread.
   */
  readonly apart?: boolean;
}

/**
 * Stage 3: cross-entropy of the answers' tokens. Inputs `pixels`, `ids`, and `labels` (i32 [batch, token]; -100 is
 * ignored). With `targets`, `places` instead of labels (i32 [batch, target]): the positions of the targets in `ids`, in
 * any order; 0, which has no predecessor, is ignored. Most of a conversation is image, question and padding, and
 * vocabulary logits are the main cost of a small language model. With turns `apart` also `turn` and `position`, both
 * i32 [batch, token]: 0 for what all turns see, before them, and 1, 2 ... for the tokens of each; and the position of a
 * token, which in each turn goes on from what all see.
 */
export const stageThreeLoss = (p: Params, c: ChatConfig, { targets, apart }: StageThreeOptions = {}): OneLoss =>
  answersLoss(p, c.text, (ids) => (apart ? turnsApart : conversation)(p, pixelsInput(c.vision), ids, c), targets);

function turnsApart(p: Params, pixels: Pixels, ids: Ids, c: ChatConfig): Decoded {
  const a = textAxes(c.text, axisOf(ids, "token").size);
  const [turn, position] = [input("turn", "i32", [a.batch, a.token]), input("position", "i32", [a.batch, a.token])];
  const embedded = withImage(p, visualTokens(p, pixels, c), ids, c.text);
  const { key, visible } = causalContext(ids, a);
  const seen = rename(turn, a.token, key);
  const own: Tensor<"batch" | "token" | "key_token"> = or(eq(turn, seen), eq(seen, 0));
  return decoder(p.scope("model"), embedded, a, c.text, { position, visible: and(visible!, own) as typeof own, key });
}

/**
 * Stage 3 with several conversations packed in a row, each attending only to itself, with positions from 0. Additional
 * inputs, i32 [batch, token]: `conversation`, a different number for each in a row; `position`; and `picture`, the
 * index of an image token among those of the row's `perRow` images in order, and -1 for text.
 */
export const packedStageThreeLoss = (p: Params, c: ChatConfig, perRow: number): OneLoss => ({
  ...answersLoss(p, c.text, (ids) =>
    packedConversations(p, pixelsInput(c.vision, times(axisOf(ids, "batch"), perRow)), ids, c),
  ),
  // Rows index the images of their own micro-batch, from 0.
  apart: true,
});

function packedConversations(p: Params, pixels: Pixels, ids: Ids, c: ChatConfig): Decoded {
  const a = textAxes(c.text, axisOf(ids, "token").size);
  const each = (name: string): Ids => input(name, "i32", [a.batch, a.token]);
  const [number, position, picture] = [each("conversation"), each("position"), each("picture")];
  const visual = visualTokens(p, pixels, c);
  const [images, token] = [axisOf(visual, "batch"), axisOf(visual, "visual")];
  const all = merge(visual, [images, token], axis("picture_token", times(images, token.size).size));
  const shown = gather(all, max(picture, 0), axisOf(all, "picture_token"));
  const words = tokenEmbedding(p.scope("model"), max(ids, 0), a);
  const embedded = select(ge(picture, 0), shown, words);
  const { key, visible } = causalContext(ids, a);
  const own: Tensor<"batch" | "token" | "key_token"> = eq(number, rename(number, a.token, key));
  return decoder(p.scope("model"), embedded, a, c.text, { position, visible: and(visible!, own) as typeof own, key });
}

/**
 * The loss of a language model's answers, with `lm_head` in the scope: `read` computes its hidden states from the input
 * `ids`.
 */
export function answersLoss(p: Params, c: TextConfig, read: (ids: Ids) => Decoded, targets?: number): OneLoss {
  const a = textAxes(c);
  const ids = input("ids", "i32", [a.batch, a.token]);
  const [hidden, next, wanted] = targets === undefined ? ofLabels() : ofPlaces(axis("target", targets));
  const loss = tokenLoss(p, hidden, max(next, 0), wanted, c);
  return { loss, weight: sum(cast(wanted, "f32"), [a.batch, axisOf(next, "token")]) };

  function ofLabels(): readonly [TextTokens, Ids, Ids] {
    const labels = input("labels", "i32", [a.batch, a.token]);
    const next = slice(labels, a.token, 1, longer(a.token, -1).size);
    return [slice(read(ids).last, a.token, 0, axisOf(next, "token").size), next, ge(next, 0)];
  }

  function ofPlaces(target: Axis<"target">): readonly [TextTokens, Ids, Ids] {
    const places = input("places", "i32", [a.batch, target]);
    const inOrder = <A extends string>(x: Tensor<A | "target">) => rename(x, target, axis("token", target.size));
    const before = gather(read(ids).last, max(sub(places, 1), 0), a.token);
    return [inOrder(before), inOrder(gather(ids, places, a.token)) as Ids, inOrder(gt(places, 0)) as Ids];
  }
}
