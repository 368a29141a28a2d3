/** Common parts of the family's model records: papers, preprocessing, omitted fields. */
import {
  axisOf,
  type CompareMode,
  type Config,
  type FeaturesMode,
  imagenetPreprocessing,
  type Model,
  type ModelGraph,
  type Paper,
  type Preprocessing,
  transpose,
} from "../../dsl/index.ts";
import { internvit, pixelsInput, type VisionConfig } from "./internvit.ts";
import { cleanCaption, contrastivePrefix } from "./stage-data.ts";

export const paper = <C extends Config>(macs: (c: C) => number): Paper<C> => ({
  source: "Chen et al. 2023, arXiv:2312.14238",
  macs,
});

/** Images are cropped for classification, squashed for retrieval and captions, and padded for chat. */
export const preprocessing: Preprocessing = {
  ...imagenetPreprocessing,
  fit: { features: "crop", classify: "crop", retrieve: "squash", caption: "squash", chat: "pad" },
};

/** The hidden states after InternViT's blocks, in a scope of the model. */
export const states = <C extends Config>(scope: string, visionOf: (c: C) => VisionConfig): ModelGraph<C> => ({
  summary: "all tokens before the first block and after each, for feature extraction",
  build: (p, c) => {
    const made = internvit(scope === "" ? p : p.scope(scope), pixelsInput(visionOf(c)), visionOf(c));
    return Object.fromEntries(
      made.map((x, block) => {
        const axes = (["batch", "token", "embed"] as const).map((a) => axisOf(x, a));
        return [`block.${block}`, transpose(x, axes)];
      }),
    );
  },
});

/** The class token comes first, then the patches in row-major order. */
export const features: FeaturesMode = { graph: "states", before: 1 };

export const ofVision = <C extends { readonly vision: VisionConfig }>(c: C) => c.vision;

/** Texts for retrieval: cleaned, with InternVL's prefix. */
export const compare: CompareMode = { prefix: contrastivePrefix(), clean: cleanCaption };

/** Summaries of the prefill and step graphs. */
export const textSummary = "prefill of a prompt without an image: next-token logits, keys and values";
export const stepSummary = "a decoding step with the KV cache: logits of the next tokens, updated keys and values";

export type Stages<C extends Config> = NonNullable<Model<C>["stages"]>;
