/**
 * CLIP: pictures and texts in one space, compared by cosine. Radford et al. 2021, arXiv:2103.00020, section 2. The same with
 * other sizes, and mostly with the exact GELU, is OpenCLIP: Cherti et al. 2022, arXiv:2212.07143.
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

/** A picture's tower, a text's tower, and the space that they share. */
export interface TwoTowers<V extends { readonly image: number }> {
  readonly vision: V;
  readonly text: ClipTextConfig;
  /** Width of the shared space. */
  readonly embed: number;
}

export interface ClipConfig extends TwoTowers<ClipVisionConfig> {
  readonly [key: string]: number | ClipVisionConfig | ClipTextConfig;
}

/** A tower for pictures, in the scope `vision`: vectors not yet of unit length. `updates` takes what batch norms keep. */
export type PictureTower<V> = (
  p: Params,
  pixels: Picture,
  c: V,
  feature: Axis<"feature">,
  updates: StateUpdate[],
) => Vector;

/** Unit vectors of pictures and texts, and what their cosines are multiplied by. */
export function compared<V extends { readonly image: number }>(p: Params, c: TwoTowers<V>, tower: PictureTower<V>) {
  const feature = axis("feature", c.embed);
  const updates: StateUpdate[] = [];
  return {
    updates,
    image: l2Normalize(tower(p.scope("vision"), pictures(c.vision), c.vision, feature, updates), feature),
    text: l2Normalize(textVectors(p.scope("text"), texts(c.text), c.text, feature), feature),
    scale: logitScale(p),
  };
}

/** Each picture of a batch is to find its text among all, and each text its picture. */
export function pairLoss<V extends { readonly image: number }>(
  p: Params,
  c: TwoTowers<V>,
  tower: PictureTower<V>,
): OneLoss {
  const { image, text, scale, updates } = compared(p, c, tower);
  return { loss: contrastiveLoss(image, text, scale), metrics: { scale }, updates };
}

/** How well pictures and texts find each other. */
export const foundBy =
  <V extends { readonly image: number }>(c: TwoTowers<V>, tower: PictureTower<V>): StageValidation =>
  (p) => {
    const { image, text } = compared(p, c, tower);
    return { found: { image, text } };
  };
