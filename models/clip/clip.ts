/**
 * CLIP: images and texts in a joint embedding space, compared by cosine. Radford et al. 2021, arXiv:2103.00020, section
 * 2. OpenCLIP is the same with other sizes, and mostly with the exact GELU: Cherti et al. 2022, arXiv:2212.07143.
 */
import {
  type Axis,
  axis,
  l2Normalize,
  type OneLoss,
  type Params,
  type StageValidation,
  type StateUpdate,
} from "../../dsl/index.ts";
import { contrastiveLoss, logitScale } from "../internvl/contrastive.ts";
import { type ClipTextConfig, texts, textVectors } from "./text.ts";
import { type ClipVisionConfig, type Picture, pictures, type Vector } from "./vision.ts";

/** An image tower, a text tower, and their joint embedding space. */
export interface TwoTowers<V extends { readonly image: number }> {
  readonly vision: V;
  readonly text: ClipTextConfig;
  /** Width of the joint embedding space. */
  readonly embed: number;
}

export interface ClipConfig extends TwoTowers<ClipVisionConfig> {
  readonly [key: string]: number | ClipVisionConfig | ClipTextConfig;
}

/**
 * An image tower, in the scope `vision`: vectors before normalization. `updates` receives batch norms' running
 * statistics, and in training a vision transformer keeps a fraction `keep` of its patches.
 */
export type PictureTower<V> = (
  p: Params,
  pixels: Picture,
  c: V,
  feature: Axis<"feature">,
  updates: StateUpdate[],
  keep?: number,
) => Vector;

/** Unit vectors of images and texts, and the factor of their cosines. */
export function compared<V extends { readonly image: number }>(
  p: Params,
  c: TwoTowers<V>,
  tower: PictureTower<V>,
  keep = 1,
) {
  const feature = axis("feature", c.embed);
  const updates: StateUpdate[] = [];
  return {
    updates,
    image: l2Normalize(tower(p.scope("vision"), pictures(c.vision), c.vision, feature, updates, keep), feature),
    text: l2Normalize(textVectors(p.scope("text"), texts(c.text), c.text, feature), feature),
    scale: logitScale(p),
  };
}

/** The symmetric contrastive loss: each image of a batch is to match its text among all, and each text its image. */
export function pairLoss<V extends { readonly image: number }>(
  p: Params,
  c: TwoTowers<V>,
  tower: PictureTower<V>,
  keep = 1,
): OneLoss {
  const { image, text, scale, updates } = compared(p, c, tower, keep);
  return { loss: contrastiveLoss(image, text, scale), metrics: { scale }, updates };
}

/** Image and text embeddings, for validation by retrieval. */
export const foundBy =
  <V extends { readonly image: number }>(c: TwoTowers<V>, tower: PictureTower<V>): StageValidation =>
  (p) => {
    const { image, text } = compared(p, c, tower);
    return { found: { image, text } };
  };
