/** The published sizes as models that commands know by name. */
import { axisOf, type CompareMode, defineModel, type Model, type Preprocessing, transpose } from "../../dsl/index.ts";
import { type ClipConfig, compared } from "./clip.ts";
import { clipCodec } from "./config.ts";
import { fitPositions } from "./fit-positions.ts";
import { openRules, transformersRules } from "./layouts.ts";
import { clipSettings } from "./settings.ts";
import { clipTraining, contrastive } from "./stages.ts";
import type { ClipTextConfig } from "./text.ts";
import { type ClipVisionConfig, imageVectors, pictures, visionStates } from "./vision.ts";

/** The short side is resized, and a square cut from the middle. */
export const clipPreprocessing: Preprocessing = {
  fit: "crop",
  interpolation: "bicubic",
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
};

/** Texts end and begin as their tokenizer has it, and are padded with 0, which is seen by no token before it. */
export const clipTexts: CompareMode = { special: "template", pad: 0 };

/** CLIP's text tower: heads of 64, an MLP four times as wide. */
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

/** A CLIP of any size, with all that commands ask for; OpenAI's and OpenCLIP's differ in numbers alone. */
export const clipModel = (
  name: string,
  summary: string,
  config: ClipConfig,
  rate: number,
  source: string,
): Model<ClipConfig> =>
  defineModel<ClipConfig>({
    name,
    summary,
    config,
    rules: clipSettings,
    paper: { source },
    stages: { contrastive: contrastive(imageVectors, clipTraining(rate)) },
    checkpoints: { layouts: [transformersRules, openRules], fit: fitPositions, config: clipCodec },
    preprocessing: clipPreprocessing,
    modes: { features: { graph: "states", before: 1 }, compare: clipTexts },
    build: (p, c) => {
      const { image, text, scale } = compared(p, c, imageVectors);
      return { image, text, scale };
    },
    graphs: {
      states: {
        summary: "all tokens before the first block and after each, as features are taken",
        build: (p, c) => {
          const states = visionStates(p.scope("vision"), pictures(c.vision), c.vision);
          return Object.fromEntries(
            states.map((x, block) => {
              const axes = (["batch", "token", "embed"] as const).map((a) => axisOf(x, a));
              return [`block.${block}`, transpose(x, axes)];
            }),
          );
        },
      },
    },
  });

const quick = ({ vision, text, embed }: ClipConfig): ClipConfig => ({
  vision: { ...vision, activation: "quick_gelu" },
  text: { ...text, activation: "quick_gelu" },
  embed,
});

/** Radford et al. 2021, table 20, has the rates. */
const openai = (profile: Profile, title: string, rate: number): Model<ClipConfig> =>
  clipModel(
    `clip-${profile}`,
    `CLIP ${title} as OpenAI trained it, with QuickGELU`,
    quick(profiles[profile]),
    rate,
    "Radford et al. 2021, arXiv:2103.00020",
  );

/** Trained by settings of their own, which differ from weights to weights: the stage has OpenAI's. */
const openclip = (profile: Profile, title: string): Model<ClipConfig> =>
  clipModel(
    `openclip-${profile}`,
    `OpenCLIP ${title}, with the exact GELU`,
    profiles[profile],
    5e-4,
    "Cherti et al. 2022, arXiv:2212.07143",
  );

const listed = (model: Model<ClipConfig>): Model => model as unknown as Model;

/** All of the family. */
export const clipFamily: readonly Model[] = [
  openai("vit-b-32", "ViT-B/32", 5e-4),
  openai("vit-b-16", "ViT-B/16", 5e-4),
  openai("vit-l-14", "ViT-L/14", 4e-4),
  openai("vit-l-14-336", "ViT-L/14 at 336 pixels", 2e-5),
  openclip("vit-b-32", "ViT-B/32"),
  openclip("vit-b-16", "ViT-B/16"),
  openclip("vit-l-14", "ViT-L/14"),
  openclip("vit-h-14", "ViT-H/14"),
  openclip("vit-g-14", "ViT-g/14"),
  openclip("vit-bigg-14", "ViT-bigG/14"),
].map(listed);
