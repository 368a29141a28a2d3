/**
 * The losses of InternVL-G: stage 2, and fine-tuning for retrieval. Chen et al. 2023, arXiv:2312.14238, sections 3.3
 * and D; label rules of the released code.
 */
import {
  type AnyTensor,
  type Axis,
  add,
  and,
  at,
  axisOf,
  cast,
  crossEntropy,
  div,
  eq,
  gather,
  ge,
  gt,
  input,
  iota,
  logSoftmax,
  longer,
  max,
  mean,
  mul,
  ne,
  neg,
  type Params,
  rename,
  scale,
  slice,
  sub,
  sum,
  type Tensor,
} from "../../dsl/index.ts";
import {
  allPairs,
  type Embedding,
  idsInput,
  logitScale,
  type Pairs,
  textEmbedding,
  visionTokens,
} from "./contrastive.ts";
import { type GenerativeConfig, matching, queryEmbedding, tokenImageEmbedding, verdict } from "./generative.ts";
import { pixelsInput, type VisionTokens } from "./internvit.ts";
import { type Ids, languageHead, lastToken, type TextConfig, type TextTokens, textAxes } from "./llama.ts";
import { minedNegatives } from "./mined-negatives.ts";
import { qllama, queryFeatures } from "./qllama.ts";

type Scalar = Tensor<never>;

export interface StageTwoOptions {
  /** The position of EOS in a contrastive text with an empty caption: after BOS and the tokens of "summarize:". */
  readonly emptyContrastive?: number;
  /** The position of EOS in a matching text with an empty caption: after BOS. */
  readonly emptyMatching?: number;
  readonly labelSmoothing?: number;
  /** The source of negatives for matching: the feeds (default), or the batch, by similarity. */
  readonly negatives?: "supplied" | "mined";
  /**
   * Caption targets: its tokens and EOS (default); with "released" also the last token of the prompt, which the
   * released loader includes by an off-by-one error.
   */
  readonly labels?: "caption" | "released";
}

export interface StageTwoLoss {
  /** The sum of the three. */
  readonly loss: Scalar;
  readonly metrics: Readonly<Record<"matching" | "contrastive" | "generative" | "scale", Scalar>>;
}

/**
 * Stage 2: matching, contrastive and captioning losses, equally weighted. Texts with an empty caption are skipped.
 * Inputs: `pixels`; `ids` for the contrastive loss ("summarize:" + caption + EOS); `matching_ids` (caption + EOS) and
 * `matches` i32 [batch] (1 if the caption belongs to the image); `caption_ids` (prompt + caption + EOS) and
 * `caption_prompt` i32 [batch] (tokens of the prompt, BOS included). With mined negatives `matching_ids` are each
 * image's own, and `matches` is replaced by `group` i32 [batch], equal for rows that show the same thing.
 *
 * The contrastive pass needs no forward pass of its own: its queries attend to no text, so they are those of the
 * generative pass, and its texts attend to no query, so they are the text-only forward pass, which needs no gradient.
 */
export function stageTwoLoss(p: Params, c: GenerativeConfig, options: StageTwoOptions = {}): StageTwoLoss {
  const { emptyContrastive = 4, emptyMatching = 1, labelSmoothing = 0, negatives = "supplied" } = options;
  const a = textAxes(c.text);
  const [ids, matchingIds, captionIds] = [
    idsInput(c.text, "ids"),
    idsInput(c.text, "matching_ids"),
    idsInput(c.text, "caption_ids"),
  ];
  const prompt = input("caption_prompt", "i32", [a.batch]);

  const vision = visionTokens(p, pixelsInput(c.vision), c);
  const captioned = qllama(p, vision, captionIds, c.text, "generative");
  const temperature = logitScale(p);
  const again = p.shared(); // all passes share QLLaMA's weights

  const pairs = allPairs(queryEmbedding(p, captioned.queries, c), textEmbedding(again, ids, c), temperature);
  const byContrast = keptContrast(pairs, ne(lastToken(ids, a), emptyContrastive), labelSmoothing);
  const isAsked = (texts: Ids) => ne(lastToken(texts, a), emptyMatching);
  const byMatching =
    negatives === "mined"
      ? minedMatching(again, vision, matchingIds, pairs, isAsked, c)
      : meanOfKept(
          crossEntropy(matching(again, vision, matchingIds, c), input("matches", "i32", [a.batch]), verdict),
          isAsked(matchingIds),
        );
  const first = options.labels === "released" ? sub(prompt, 1) : prompt;
  const byCaption = captionLoss(p, captioned.text, captionIds, first, c.text);
  return {
    loss: add(add(byMatching, byContrast), byCaption),
    metrics: { matching: byMatching, contrastive: byContrast, generative: byCaption, scale: temperature },
  };
}

/**
 * Matching over three pairs for each image: with its own text, its text with a negative image, and itself with a
 * negative text, as in BLIP-2. Three passes of B rows become one of 3 B.
 */
function minedMatching(
  p: Params,
  vision: VisionTokens,
  ids: Ids,
  pairs: Pairs,
  isAsked: (texts: Ids) => Tensor<"batch">,
  c: GenerativeConfig,
): Scalar {
  const { rows, columns } = pairs;
  const drawn = minedNegatives(pairs, input("group", "i32", [rows]));
  const [otherVision, otherIds] = [
    gather(rename(vision, rows, columns), drawn.image, columns),
    gather(rename(ids, rows, columns), drawn.text, columns),
  ];
  const judged = (images: VisionTokens, texts: Ids, right: 0 | 1, keep: Tensor<"batch">) => {
    const loss = neg(at(logSoftmax(matching(p, images, texts, c), verdict), verdict, right));
    const weight = cast(keep, "f32");
    return { loss: mul(loss, weight), weight };
  };
  const parts = [
    judged(vision, ids, 1, isAsked(ids)),
    judged(otherVision, ids, 0, and(isAsked(ids), drawn.exist)),
    judged(vision, otherIds, 0, and(isAsked(otherIds), drawn.exist)),
  ];
  const total = (of: "loss" | "weight") => parts.map((x) => sum(x[of], rows)).reduce((x, y) => add(x, y));
  return div(total("loss"), max(total("weight"), 1));
}

/** The mean over the kept rows; 0 if there are none. */
function meanOfKept(x: Tensor<"batch">, keep: Tensor<"batch">): Scalar {
  const rows = axisOf(x, "batch");
  const weight = cast(keep, "f32");
  return div(sum(mul(x, weight), rows), max(sum(weight, rows), 1));
}

/** Symmetric cross-entropy over all pairs; texts that are not kept are candidates, but have no loss of their own. */
function keptContrast({ rows, columns, logits }: Pairs, keep: Tensor<"batch">, smoothing: number): Scalar {
  const byImage = smoothCrossEntropy(logits, iota(rows), columns, smoothing);
  const byText = rename(smoothCrossEntropy(logits, iota(columns), rows, smoothing), columns, rows);
  return scale(add(meanOfKept(byImage, keep), meanOfKept(byText, keep)), 0.5);
}

/** Cross-entropy with label smoothing. Szegedy et al. 2016, section 7. */
export function smoothCrossEntropy(logits: AnyTensor, label: AnyTensor, over: Axis, smoothing: number): AnyTensor {
  const hard: AnyTensor = crossEntropy(logits, label, over);
  if (smoothing === 0) return hard;
  const spread: AnyTensor = neg(mean(logSoftmax(logits, over), over));
  return add(scale(hard, 1 - smoothing), scale(spread, smoothing));
}

/**
 * Mean next-token cross-entropy over all targets: tokens that are not padding, from position `first` on. hidden [batch,
 * token, embed], ids i32 [batch, token], first i32 [batch]
 */
function captionLoss(p: Params, hidden: TextTokens, ids: Ids, first: Tensor<"batch">, c: TextConfig): Scalar {
  const token = axisOf(ids, "token");
  const shorter = longer(token, -1);
  const next = slice(ids, token, 1, shorter.size);
  const place = add(iota(shorter), 1); // of the next token
  const wanted = and(gt(next, 0), ge(place, first));
  return nextTokenLoss(p.scope("qllama"), hidden, next, wanted, c);
}

/**
 * The mean next-token cross-entropy. hidden [batch, token, embed]; next i32 and wanted bool [batch, token - 1]: the
 * token after each, and whether it counts
 */
export function nextTokenLoss(p: Params, hidden: TextTokens, next: Ids, wanted: Ids, c: TextConfig): Scalar {
  return tokenLoss(p, slice(hidden, axisOf(hidden, "token"), 0, axisOf(next, "token").size), next, wanted, c);
}

/**
 * The mean cross-entropy of the tokens that follow hidden states. hidden [batch, token, embed]; next i32 and wanted
 * bool [batch, token]: the token after each, and whether it counts
 */
export function tokenLoss(p: Params, hidden: TextTokens, next: Ids, wanted: Ids, c: TextConfig): Scalar {
  const [a, token] = [textAxes(c), axisOf(next, "token")];
  const logits = languageHead(p, hidden, a, c);
  const weight = cast(wanted, "f32");
  const losses = mul(crossEntropy(logits, next, a.vocab), weight);
  return div(sum(losses, [a.batch, token]), max(sum(weight, [a.batch, token]), 1));
}

export interface RetrievalLoss {
  readonly loss: Scalar;
  readonly metrics: Readonly<Record<"matching" | "contrastive" | "scale", Scalar>>;
}

/**
 * Retrieval fine-tuning: matching of every image with its own and with another caption, and a contrastive loss of the
 * texts with both embeddings of the images; rows of the same image share its targets. Inputs: `pixels`, `ids`
 * ("summarize:" + caption + EOS), `matching_ids` and `other_ids` (own and other captions + EOS), `image_id` i32
 * [batch].
 */
export function retrievalLoss(p: Params, c: GenerativeConfig): RetrievalLoss {
  const a = textAxes(c.text);
  const image = input("image_id", "i32", [a.batch]);
  const vision = visionTokens(p, pixelsInput(c.vision), c);
  const temperature = logitScale(p);
  const again = p.shared(); // all passes share QLLaMA's weights
  const judge = (texts: string, right: number) => {
    const scores = matching(again, vision, idsInput(c.text, texts), c);
    return neg(mean(at(logSoftmax(scores, verdict), verdict, right), a.batch));
  };
  const byMatching = scale(add(judge("other_ids", 0), judge("matching_ids", 1)), 0.5);
  const text = textEmbedding(again, idsInput(c.text), c);
  const contrast = (x: Embedding) => softContrast(allPairs(x, text, temperature), image);
  const queries = queryEmbedding(p, queryFeatures(again, vision, c.text), c);
  const byContrast = add(contrast(queries), contrast(tokenImageEmbedding(p, vision, c)));
  return {
    loss: add(byMatching, byContrast),
    metrics: { matching: byMatching, contrastive: byContrast, scale: temperature },
  };
}

/** Symmetric cross-entropy over all pairs, each row's target spread evenly over the rows of the same image. */
function softContrast({ rows, columns, logits }: Pairs, image: Tensor<"batch">): Scalar {
  const together = cast(eq(image, rename(image, rows, columns)), "f32");
  const share = div(together, sum(together, columns)); // symmetric but for the divisor, the same for row and column
  const byImage = sum(mul(logSoftmax(logits, columns), share), columns);
  const shareOfText: AnyTensor = div(together, sum(together, rows));
  const byText = sum(mul(logSoftmax(logits, rows), shareOfText), rows) as Tensor<"pair">;
  return scale(add(mean(byImage, rows), mean(byText, columns)), -0.5);
}
