/**
 * Classification on top of a frozen InternViT: the linear probe and the attention-pooling probe. Chen et al. 2023,
 * arXiv:2312.14238, section 4.2 and table 4; released code: classification/.
 */
import {
  at,
  axis,
  axisOf,
  batchNorm,
  concat,
  crossEntropy,
  input,
  linear,
  longer,
  mean,
  normal,
  type Params,
  rename,
  type StateUpdate,
  slice,
  type Tensor,
} from "../../dsl/index.ts";
import { pooled } from "./contrastive.ts";
import { internvit, internvit6b, type Pixels, pixelsInput, type VisionConfig, type VisionTokens } from "./internvit.ts";

export interface ProbeConfig {
  readonly [key: string]: number | string | VisionConfig;
  readonly vision: VisionConfig;
  readonly classes: number;
  /** "concat": class token and mean of the patches; "pooling": attention pooling of all tokens. */
  readonly features: string;
  /** Output width of the attention pooling. */
  readonly embed: number;
  readonly poolingHeads: number;
}

/** The linear probe on ImageNet: 6,413,800 parameters are trained. */
export const linearProbe: ProbeConfig = {
  vision: internvit6b,
  classes: 1000,
  features: "concat",
  embed: 3200,
  poolingHeads: 25,
};

/** The class token and the mean of the patches: [batch, token, embed] -> [batch, feature = 2 embed] */
function classAndMean(tokens: VisionTokens): Tensor<"batch" | "feature"> {
  const [token, embed] = [axisOf(tokens, "token"), axisOf(tokens, "embed")];
  const patches = mean(slice(tokens, token, 1, longer(token, -1).size), token);
  return rename(concat([at(tokens, token, 0), patches], embed), embed, axis("feature", embed.size));
}

/** Class logits: pixels -> [batch, class], and the batch statistics that training updates. */
export function probe(
  p: Params,
  pixels: Pixels,
  c: ProbeConfig,
): { readonly scores: Tensor<"batch" | "class">; readonly updates: readonly StateUpdate[] } {
  const tokens = internvit(p.scope("vision_model"), pixels, c.vision).at(-1)!;
  const features = c.features === "pooling" ? pooled(p.scope("clip_projector"), tokens, c) : classAndMean(tokens);
  const updates: StateUpdate[] = [];
  const feature = axisOf(features, "feature");
  const normed = batchNorm(p.scope("norm"), features, feature, { epsilon: 1e-6, updates });
  const scores = linear(p.scope("head"), normed, [feature], [axis("class", c.classes)], { init: normal(0.01) });
  return { scores, updates };
}

/** The class of each image: i32 [batch]. */
export const labelInput = (): Tensor<"batch"> => input("label", "i32", [axis("batch", "batch")]);

/** Cross-entropy of the class. Inputs `pixels` and `label` i32 [batch]. Train `norm`, `head` and `clip_projector`. */
export function probeLoss(p: Params, c: ProbeConfig) {
  const { scores, updates } = probe(p, pixelsInput(c.vision), c);
  const batch = axisOf(scores, "batch");
  const loss = mean(crossEntropy(scores, labelInput(), axisOf(scores, "class")), batch);
  return { loss, updates };
}
