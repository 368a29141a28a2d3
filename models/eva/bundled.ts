/** The published sizes as named models. */
import { lamb, type Model, positive, share, whole, word } from "../../dsl/index.ts";
import { clipText } from "../clip/bundled.ts";
import { fitPositions } from "../clip/fit-positions.ts";
import { pictureSettings, textSettings } from "../clip/settings.ts";
import type { Training } from "../clip/stages.ts";
import { tinyTowers } from "../clip/tiny.ts";
import { twoTowers } from "../clip/two-towers.ts";
import { listed } from "../listed.ts";
import { evaCodec } from "./config.ts";
import { evaLayouts } from "./layouts.ts";
import { type EvaClipConfig, type EvaConfig, evaBlocks, evaStates, evaVectors } from "./vision.ts";

const sizes = whole(1, 2 ** 20);

/** Layer-wise decay of a tower's rate: a factor for each block further from the end. */
const layerwise = (path: string, depth: number, decay: number): number => {
  const block = /^(?:vision|text)\.blocks\.(\d+)\./.exec(path);
  if (block) return decay ** (depth - Number(block[1]));
  return /\.(class_embedding|positions|patches|tokens)(\.|$)/.test(path) ? decay ** (depth + 1) : 1;
};

/**
 * LAMB, clipped to a norm of 5: a tenth of the images' rate for texts, 5e-4 for the temperature, with layer-wise decay
 * in each tower. Sun et al. 2023, section 3 and table 1 (batches and samples); the training scripts in EVA-CLIP's
 * README (rates, decays, patch dropout). There is no script for g, which has the settings of the others here, and no
 * patch dropout.
 */
const evaTraining = ({ rate = 4e-4, decay = 0.85, keep = 1, ...published }: EvaPublished): Training => ({
  ...published,
  ...{ rate, keep, warmup: 2000, weightDecay: 0.05, beta2: 0.98, epsilon: 1e-6 },
  optimizer: (config) => {
    const { vision, text } = config as unknown as EvaClipConfig;
    const temperature = 5e-4 / rate;
    return {
      rule: lamb({ beta1: 0.9, beta2: 0.98, epsilon: 1e-6 }),
      clip: 5,
      rateScale: (path) => {
        if (path.startsWith("vision.")) return layerwise(path, vision.depth, decay);
        return path.startsWith("text.") ? 0.1 * layerwise(path, text.depth, 0.75) : temperature;
      },
    };
  },
});

/** Settings that differ between sizes; `rate`, `decay` and `keep` are those of the image tower. */
interface EvaPublished {
  readonly batch: number;
  readonly samples: number;
  readonly rate?: number;
  readonly decay?: number;
  readonly keep?: number;
}

type Sizes = Pick<EvaConfig, "width" | "depth" | "heads" | "mlp" | "patch" | "blocks">;

const vision = (given: Sizes, dropPath = 0): EvaConfig => ({ ...given, image: 224, dropPath, epsilon: 1e-6 });

const g = vision({ width: 1408, depth: 40, heads: 16, mlp: 6144, patch: 14, blocks: "pre-norm" }, 0.4);
const b = vision({ width: 768, depth: 12, heads: 12, mlp: 2048, patch: 16, blocks: "sub-norm" });
const l = vision({ width: 1024, depth: 24, heads: 16, mlp: 2730, patch: 14, blocks: "sub-norm" });
const e = vision({ width: 1792, depth: 64, heads: 16, mlp: 15360, patch: 14, blocks: "post-norm" });

/** By their names in timm. */
const towers = {
  eva_giant_patch14_224: g,
  eva_giant_patch14_336: { ...g, image: 336 },
  eva_giant_patch14_clip_224: g,
  eva02_base_patch16_clip_224: b,
  eva02_large_patch14_clip_224: l,
  eva02_large_patch14_clip_336: { ...l, image: 336 },
  eva02_enormous_patch14_clip_224: e,
};

/** An EVA-CLIP of any size. */
export const evaClipModel = (
  name: string,
  summary: string,
  config: EvaClipConfig,
  training: Training,
): Model<EvaClipConfig> =>
  twoTowers<EvaConfig, EvaClipConfig>({
    ...{ name, summary, source: "Sun et al. 2023, arXiv:2303.15389", config, configs: { tiny: tinyTowers(config) } },
    rules: {
      vision: {
        ...{ width: sizes, depth: whole(1, 1000), heads: sizes, mlp: sizes, ...pictureSettings },
        ...{ blocks: word(...evaBlocks), dropPath: share, epsilon: positive },
      },
      text: textSettings,
      embed: sizes,
    },
    training,
    checkpoints: { layouts: evaLayouts, fit: fitPositions, config: evaCodec(towers) },
    ...{ tower: evaVectors, states: evaStates },
  });

const profile = (name: string, summary: string, config: EvaClipConfig, published: EvaPublished): Model =>
  listed(evaClipModel(name, summary, config, evaTraining(published)));

/** All models of the family. */
export const evaFamily: readonly Model[] = [
  profile(
    "eva01-clip-g-14",
    "EVA-01-CLIP-g/14",
    { vision: g, text: clipText(768, 12), embed: 1024 },
    { batch: 41_000, samples: 11e9 },
  ),
  profile(
    "eva02-clip-b-16",
    "EVA-02-CLIP-B/16: norms inside the branches, gated MLPs, rotary positions",
    { vision: b, text: clipText(512, 12), embed: 512 },
    { batch: 131_072, samples: 8e9, rate: 2e-4, decay: 0.75 },
  ),
  profile(
    "eva02-clip-l-14",
    "EVA-02-CLIP-L/14: norms inside the branches, gated MLPs, rotary positions",
    { vision: l, text: clipText(768, 12), embed: 768 },
    { batch: 131_072, samples: 4e9 },
  ),
  profile(
    "eva02-clip-e-14",
    "EVA-02-CLIP-E/14: norms after the branches",
    { vision: e, text: clipText(1024, 24), embed: 1024 },
    { batch: 115_200, samples: 4e9, decay: 0.9, keep: 0.5 },
  ),
  profile(
    "eva02-clip-e-14-plus",
    "EVA-02-CLIP-E/14+: the same with a larger text tower",
    { vision: e, text: clipText(1280, 32), embed: 1024 },
    { batch: 144_000, samples: 9e9, decay: 0.9, keep: 0.5 },
  ),
];
