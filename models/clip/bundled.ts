/** The published sizes as named models. */
import type { Model } from "../../dsl/index.ts";
import { listed } from "../listed.ts";
import type { ClipConfig } from "./clip.ts";
import { clipCodec } from "./config.ts";
import { fitPositions } from "./fit-positions.ts";
import { openResNetRules, openRules, transformersRules } from "./layouts.ts";
import { openClipReader, openResNetCodec } from "./open-codec.ts";
import { openclipTraining, unmaskedTraining } from "./openclip.ts";
import { type ClipResNetConfig, type ClipResNetModelConfig, resnetMaps, resnetVectors } from "./resnet.ts";
import { clipResNetSettings, clipSettings } from "./settings.ts";
import { clipTraining, type Training } from "./stages.ts";
import type { ClipTextConfig } from "./text.ts";
import { tinyTexts, tinyTowers } from "./tiny.ts";
import { twoTowers } from "./two-towers.ts";
import { type ClipVisionConfig, imageVectors, visionStates } from "./vision.ts";

/** CLIP's text tower: head size 64, an MLP four times as wide. */
export const clipText = (width: number, depth: number, activation = "gelu"): ClipTextConfig => ({
  ...{ width, depth, heads: width / 64, mlp: 4 * width, activation, epsilon: 1e-5 },
  ...{ vocab: 49408, context: 77, eos: 49407 },
});

const vision = (width: number, depth: number, heads: number, mlp: number, patch: number, image = 224) =>
  ({ width, depth, heads, mlp, activation: "gelu", epsilon: 1e-5, image, patch }) satisfies ClipVisionConfig;

/** Profiles of OpenCLIP's model_configs: sizes, with the exact GELU of the weights that OpenCLIP trained. */
const profiles = {
  "vit-b-32": { vision: vision(768, 12, 12, 3072, 32), text: clipText(512, 12), embed: 512 },
  "vit-b-16": { vision: vision(768, 12, 12, 3072, 16), text: clipText(512, 12), embed: 512 },
  "vit-l-14": { vision: vision(1024, 24, 16, 4096, 14), text: clipText(768, 12), embed: 768 },
  "vit-l-14-336": { vision: vision(1024, 24, 16, 4096, 14, 336), text: clipText(768, 12), embed: 768 },
  "vit-h-14": { vision: vision(1280, 32, 16, 5120, 14), text: clipText(1024, 24), embed: 1024 },
  "vit-g-14": { vision: vision(1408, 40, 16, 6144, 14), text: clipText(1024, 24), embed: 1024 },
  "vit-bigg-14": { vision: vision(1664, 48, 16, 8192, 14), text: clipText(1280, 32), embed: 1280 },
} satisfies Readonly<Record<string, ClipConfig>>;

type Profile = keyof typeof profiles;

/** A CLIP of any size; OpenAI's and OpenCLIP's differ only in numbers. */
export const clipModel = (
  name: string,
  summary: string,
  config: ClipConfig,
  training: Training,
  source: string,
  tuning?: Training,
): Model<ClipConfig> =>
  twoTowers({
    ...{ name, summary, source, config, configs: { tiny: tinyTowers(config) } },
    ...{ rules: clipSettings, training, ...(tuning && { tuning }) },
    checkpoints: {
      layouts: [transformersRules, openRules],
      fit: fitPositions,
      config: clipCodec,
      otherConfigs: [openClipReader],
    },
    ...{ tower: imageVectors, states: visionStates },
  });

const quick = ({ vision, text, embed }: ClipConfig): ClipConfig => ({
  vision: { ...vision, activation: "quick_gelu" },
  text: { ...text, activation: "quick_gelu" },
  embed,
});

const radford = "Radford et al. 2021, arXiv:2103.00020";

/** Rates are from table 20. */
const openai = (profile: Profile, title: string, rate: number): Model<ClipConfig> =>
  clipModel(
    `clip-${profile}`,
    `CLIP ${title} as OpenAI trained it, with QuickGELU`,
    quick(profiles[profile]),
    clipTraining(rate),
    radford,
  );

const openclip = (profile: keyof typeof openclipTraining, title: string, tuning?: Training): Model<ClipConfig> =>
  clipModel(
    `openclip-${profile}`,
    `OpenCLIP ${title}, with the exact GELU`,
    profiles[profile],
    openclipTraining[profile],
    "Cherti et al. 2022, arXiv:2212.07143",
    tuning,
  );

/** The settings for a tower without patches to drop. */
const withoutDropping = ({ keep: _, ...training }: Training): Training => training;

/** A CLIP with a ResNet of any size. */
export const clipResNetModel = (name: string, summary: string, config: ClipResNetModelConfig) =>
  twoTowers<ClipResNetConfig, ClipResNetModelConfig>({
    ...{ name, summary, source: radford, config, rules: clipResNetSettings },
    configs: {
      tiny: { vision: { width: 4, blocks: [1, 1, 1, 1], image: 64, heads: 2 }, text: tinyTexts, embed: 8 },
    },
    training: withoutDropping({ ...clipTraining(5e-4), beta2: 0.999, epsilon: 1e-8 }),
    checkpoints: { layouts: [openResNetRules], config: openResNetCodec },
    tower: resnetVectors,
    states: (p, pixels, c) => resnetMaps(p, pixels, c, []),
    stateAxes: ["batch", "row", "column", "channel"],
  });

/** All models of the family. */
export const clipFamily: readonly Model[] = [
  listed(openai("vit-b-32", "ViT-B/32", 5e-4)),
  listed(openai("vit-b-16", "ViT-B/16", 5e-4)),
  listed(openai("vit-l-14", "ViT-L/14", 4e-4)),
  listed(openai("vit-l-14-336", "ViT-L/14 at 336 pixels", 2e-5)),
  listed(
    clipResNetModel("clip-rn50", "CLIP ResNet-50 as OpenAI trained it, with QuickGELU in the text tower", {
      vision: { width: 64, blocks: [3, 4, 6, 3], image: 224, heads: 32 },
      ...{ text: clipText(512, 12, "quick_gelu"), embed: 1024 },
    }),
  ),
  listed(openclip("vit-b-32", "ViT-B/32")),
  listed(openclip("vit-b-16", "ViT-B/16")),
  listed(openclip("vit-l-14", "ViT-L/14")),
  listed(openclip("vit-h-14", "ViT-H/14")),
  listed(openclip("vit-g-14", "ViT-g/14")),
  listed(openclip("vit-bigg-14", "ViT-bigG/14", unmaskedTraining)),
];
