/** ViCLIP: clips and texts in a joint embedding space. Wang et al. 2023, arXiv:2307.06942 (InternVid), section 4. */
import {
  axis,
  constantInit,
  cosine,
  defineStage,
  div,
  l2Normalize,
  type OneLoss,
  type Params,
  partOf,
  type StageRecipe,
  scaledWarmUp,
  settled,
  type Tensor,
  type TensorRule,
  under,
} from "../../dsl/index.ts";
import type { TwoTowers } from "../clip/clip.ts";
import { openTextRules, openVisionRules } from "../clip/layouts.ts";
import { type ClipTextConfig, texts, textVectors } from "../clip/text.ts";
import { type Picture, pictures } from "../clip/vision.ts";
import { contrastiveLoss } from "../internvl/contrastive.ts";
import { type Clip, clips, type ViclipOptions, type ViclipVisionConfig, viclipVectors } from "./vision.ts";

export interface ViclipConfig extends TwoTowers<ViclipVisionConfig> {
  readonly [key: string]: number | ViclipVisionConfig | ClipTextConfig;
}

/** The factor of cosines. The parameter is its inverse, the temperature, which training clamps to 0.01 or more. */
const scaleOf = (p: Params): Tensor<never> =>
  div(1, p.parameter("temp", [], constantInit(0.01), { within: [0.01, 1e6] }));

/** Unit vectors of clips or images, and of texts, and the factor of their cosines. */
export function comparedByViclip(p: Params, c: ViclipConfig, pixels: Clip | Picture, options: ViclipOptions = {}) {
  const feature = axis("feature", c.embed);
  return {
    image: l2Normalize(viclipVectors(p.scope("vision"), pixels, c.vision, feature, options), feature),
    text: l2Normalize(textVectors(p.scope("text"), texts(c.text), c.text, feature), feature),
    scale: scaleOf(p),
  };
}

/** The symmetric contrastive loss of clips and texts. */
export function viclipLoss(p: Params, c: ViclipConfig, options: ViclipOptions = {}): OneLoss {
  const { image, text, scale } = comparedByViclip(p, c, clips(c.vision), options);
  return { loss: contrastiveLoss(image, text, scale), metrics: { scale } };
}

/** Embeddings of images and texts, as commands compare them. */
export const comparedPictures = (p: Params, c: ViclipConfig) => comparedByViclip(p, c, pictures(c.vision));

/**
 * Training on a tenth of the patches, with the text tower frozen: rate, decay and 512 clips per process as released for
 * 200 million clips. The number of processes and epochs, the warm-up, and drop path rising with depth are chosen here.
 * Clips come from a custom job: nothing here reads videos.
 */
export const videoText: StageRecipe<ViclipConfig> = (c, given) => {
  const batch = 64 * 512;
  const allSteps = Math.ceil((10 * 200e6) / batch);
  const s = settled({ steps: allSteps, batch, rate: 4e-4, keep: 0.1, dropPath: 0.1 }, given);
  const { warmup, notes } = scaledWarmUp(Math.round(allSteps / 10), allSteps, s.steps);
  const config: ViclipConfig = { ...c, vision: { ...c.vision, dropPath: s.dropPath } };
  return {
    config,
    stage: defineStage({
      name: "video-text",
      loss: (p) => viclipLoss(p, config, { keep: s.keep }),
      trainable: ["vision.**", "temp"],
      optimizer: {
        rate: cosine({ peak: s.rate, steps: s.steps, warmup }),
        ...{ beta1: 0.9, beta2: 0.98, weightDecay: 0.2 },
      },
    }),
    ...{ steps: s.steps, batch: s.batch, rate: s.rate, settings: { keep: s.keep, dropPath: s.dropPath } },
    rules: { keep: partOf },
    notes,
    startsFrom: ["CLIP"],
  };
};

/**
 * The released files: CLIP's names under `vision_encoder` and `text_encoder`, patches as a convolution over one frame.
 */
export const viclipRules: readonly TensorRule[] = [
  ...under("vision", "vision_encoder", [
    ...openVisionRules,
    { path: "patches.weight", name: "conv1.weight", axes: "embed channel 1 patch_row patch_column" },
    { path: "times", name: "temporal_positional_embedding", axes: "1 frame embed" },
  ]),
  ...under("text", "text_encoder", openTextRules),
  { path: "temp", name: "temp", axes: "" },
];
