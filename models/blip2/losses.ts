/**
 * The Q-Former's losses before a language model is attached: contrastive, matching and captioning. Li et al. 2023,
 * arXiv:2301.12597, section 3.2; released code: LAVIS, blip2_qformer.py.
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

/** Label smoothing of the contrastive and captioning losses. */
const smoothing = 0.1;

export interface QformerLossOptions {
  /**
   * True if rows of a batch may show the same image, as in fine-tuning for retrieval: the input `image_id` i32 [batch]
   * is equal for those, and they are not each other's negatives. Default false: each row matches only its own text.
   */
  readonly grouped?: boolean;
}

/**
 * Inputs: `vision`, `ids`. The losses `contrastive`, `matching` and `generative`, equally weighted, and `temperature`.
 */
export function qformerLoss(p: Params, c: QformerConfig, { grouped = false }: QformerLossOptions = {}): SeveralLosses {
  const [vision, ids] = [normedVision(p, visionInput(c), c), textInput(c)];
  // Queries attend to no text in the generative pass, so the contrastive loss uses the same ones.
  const { queries, logits } = written(p, vision, ids, c);
  const again = p.shared(); // all passes share the Q-Former's weights
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

/** Next-token cross-entropy, ignoring padding. */
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
 * Hard negatives: for each image a text of another, and for each text another image, similar ones more often: one
 * sample from the softmax of each row and column of the similarities, as the maximum of logit + Gumbel noise, from the
 * random inputs `negatives.text` and `negatives.image`. No gradient passes. Row indices, i32 [batch]; `exist` is false
 * if all rows show the same image.
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
