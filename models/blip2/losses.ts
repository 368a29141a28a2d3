/**
 * What trains a Q-Former before any language model: contrast, matching and captions. Li et al. 2023, arXiv:2301.12597,
 * section 3.2; released code: LAVIS, blip2_qformer.py.
 */
import {
  type AnyTensor,
  type Axis,
  add,
  argmax,
  at,
  axis,
  axisOf,
  cast,
  constantInit,
  contract,
  div,
  eq,
  gather,
  gt,
  input,
  iota,
  log,
  logSoftmax,
  longer,
  max,
  mean,
  mul,
  ne,
  neg,
  not,
  type Params,
  random,
  reduceMax,
  rename,
  type SeveralLosses,
  scale,
  select,
  slice,
  stopGradient,
  sum,
  type Tensor,
  uniform,
} from "../../dsl/index.ts";
import { smoothCrossEntropy } from "../internvl/index.ts";
import {
  type Ids,
  matching,
  normedVision,
  type QformerConfig,
  queryFeatures,
  textFeature,
  textInput,
  verdict,
  visionInput,
  written,
} from "./qformer.ts";

/** The part of a target that is spread over all classes, of contrast and of captions. */
const smoothing = 0.1;

export interface QformerLossOptions {
  /**
   * True where rows of a batch may show the same, as in fine-tuning for retrieval: the input `image_id` i32 [batch] is the same
   * number for those, and none is the other's negative. Default false: each row is alone with its text.
   */
  readonly grouped?: boolean;
}

/** Inputs: `vision`, `ids`. The losses `contrastive`, `matching` and `generative`, weighted alike, and `temperature`. */
export function qformerLoss(p: Params, c: QformerConfig, { grouped = false }: QformerLossOptions = {}): SeveralLosses {
  const [vision, ids] = [normedVision(p, visionInput(c), c), textInput(c)];
  // Queries see no word while a text is written, so those of contrast are the same.
  const { queries, logits } = written(p, vision, ids, c);
  const again = p.shared(); // the Q-Former is one, whatever passes it makes
  const rows = axisOf(ids, "batch");
  const columns = axis("pair", rows.size);
  const temperature = p.parameter("temp", [], constantInit(0.07));
  const text = rename(textFeature(again, ids, c), rows, columns);
  const features = queryFeatures(p, queries, c);
  const cosines = contract(features, text, axis("feature", c.embed));
  const similar = div(reduceMax(cosines, axisOf(features, "token")), temperature);
  const byContrast = (over: Axis, others: Axis) =>
    mean<string, string>(smoothCrossEntropy(similar, iota(others), over, smoothing), others) as Tensor<never>;

  const group = grouped ? input("image_id", "i32", [rows]) : iota(rows);
  const { text: otherText, image: otherImage, exist } = hardNegatives(similar, group, rows, columns);
  const among = <A extends string>(x: Tensor<A | "batch">, row: Tensor<"batch">) =>
    gather(rename(x, rows, columns) as AnyTensor, row, columns) as Tensor<A | "batch">;
  const judged = (images: typeof vision, texts: Ids, right: 0 | 1) =>
    neg(at(logSoftmax(matching(again, images, texts, c), verdict), verdict, right)) as Tensor<"batch">;
  const all = cast(exist, "f32");
  const wrong = add(judged(among(vision, otherImage), ids, 0), judged(vision, among(ids, otherText), 0));
  const byMatching = div(sum(add(judged(vision, ids, 1), mul(wrong, all)), rows), sum(add(1, scale(all, 2)), rows));
  return {
    losses: [
      { name: "contrastive", loss: scale(add(byContrast(columns, rows), byContrast(rows, columns)), 0.5) },
      { name: "matching", loss: byMatching as Tensor<never> },
      { name: "generative", loss: captionLoss(logits, ids) },
    ],
    metrics: { temperature },
  };
}

/** Cross-entropy of each next word but padding. */
function captionLoss(logits: Tensor<"batch" | "token" | "vocab">, ids: Ids): Tensor<never> {
  const [rows, token] = [axisOf(ids, "batch"), axisOf(ids, "token")];
  const fewer = longer(token, -1);
  const next: Ids = slice(ids, token, 1, fewer.size);
  const wanted = cast(ne(next, 0), "f32");
  const scores = slice(logits, token, 0, fewer.size);
  const losses = mul(smoothCrossEntropy(scores, next, axisOf(logits, "vocab"), smoothing), wanted);
  return div(sum(losses as Ids, [rows, fewer]), max(sum(wanted, [rows, fewer]), 1));
}

/**
 * For each image a text of another and for each text another image, what is more alike more often: one draw from the softmax of
 * each row and column of the similarities, by the largest of logit + Gumbel noise, from the random inputs `negatives.text` and
 * `negatives.image`. No gradient passes. Rows of the batch, i32 [batch]; `exist` is false where all show the same.
 */
function hardNegatives(
  similar: Tensor<"batch" | "pair">,
  group: Tensor<"batch">,
  rows: Axis<"batch">,
  columns: Axis<"pair">,
) {
  const others: AnyTensor = not(eq(group, rename(group, rows, columns)));
  const draw = (name: string, over: Axis): AnyTensor => {
    const noise = neg(log(max(neg(log(max(random(name, [rows, columns], uniform(0, 1)), 1e-30))), 1e-30)));
    return argmax(select(others, add(stopGradient(similar), noise) as AnyTensor, -1e30), over);
  };
  return {
    text: draw("negatives.text", columns) as Tensor<"batch">,
    image: rename(draw("negatives.image", rows) as Tensor<"pair">, columns, rows),
    exist: gt(reduceMax(cast(others, "f32"), columns), 0.5) as Tensor<"batch">,
  };
}
