/** The published sizes as named models. */
import { defineModel, imagenetPreprocessing, type Model, share, whole } from "../../dsl/index.ts";
import { clipText } from "../clip/bundled.ts";
import { fitPositions } from "../clip/fit-positions.ts";
import { clipSettings } from "../clip/settings.ts";
import { tinyPictures, tinyTowers } from "../clip/tiny.ts";
import { asFeatures } from "../clip/two-towers.ts";
import { pictures } from "../clip/vision.ts";
import { listed } from "../listed.ts";
import { comparedByViclip, comparedPictures, type ViclipConfig, viclipRules, videoText } from "./viclip.ts";
import { clips, type ViclipVisionConfig, viclipStates } from "./vision.ts";

/** A ViCLIP of any size: its main graph takes an image, as commands do, and `video` a clip. */
export const viclipModel = (name: string, summary: string, config: ViclipConfig): Model<ViclipConfig> =>
  defineModel<ViclipConfig>({
    ...{ name, summary, config },
    configs: { tiny: { ...tinyTowers(config), vision: { ...tinyPictures(config.vision.patch), frames: 2 } } },
    paper: { source: "Wang et al. 2023, arXiv:2307.06942" },
    rules: {
      ...clipSettings,
      vision: { ...clipSettings.vision, frames: whole(1, 2 ** 12), dropPath: share },
    },
    stages: { "video-text": videoText },
    checkpoints: { layouts: [viclipRules], fit: fitPositions },
    preprocessing: { ...imagenetPreprocessing, fit: "squash", interpolation: "bicubic" },
    modes: { features: { graph: "states", before: 1 }, compare: { special: "template", pad: 0 } },
    build: comparedPictures,
    graphs: {
      video: {
        summary: "encodes a clip of frames [batch, frame, channel, row, column] and texts as unit vectors",
        build: (p, c) => comparedByViclip(p, c, clips(c.vision)),
      },
      states: {
        summary: "all tokens of an image before the first block and after each, for feature extraction",
        build: (p, c) => asFeatures(viclipStates(p.scope("vision"), pictures(c.vision), c.vision)),
      },
    },
  });

const vision = (width: number, depth: number, patch: number): ViclipVisionConfig => ({
  ...{ width, depth, heads: width / 64, mlp: 4 * width, activation: "quick_gelu", epsilon: 1e-5 },
  ...{ image: 224, patch, frames: 8, dropPath: 0 },
});

const text = (width: number) => ({ ...clipText(width, 12, "quick_gelu"), context: 32 });

/** All models of the family. */
export const viclipFamily: readonly Model[] = [
  viclipModel("viclip-b-16", "ViCLIP-B/16: clips of 8 frames and texts", {
    ...{ vision: vision(768, 12, 16), text: text(512), embed: 512 },
  }),
  viclipModel("viclip-l-14", "ViCLIP-L/14: clips of 8 frames and texts", {
    ...{ vision: vision(1024, 24, 14), text: text(768), embed: 768 },
  }),
].map(listed);
