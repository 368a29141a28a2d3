/** BLIP-2 as named models: the Q-Former, with its first stage, and the full captioning model. */
import {
  axis,
  axisOf,
  cosine,
  defineModel,
  defineStage,
  type Model,
  positive,
  rename,
  type SettingRules,
  type StageRecipe,
  scaledWarmUp,
  settled,
  transpose,
  whole,
  word,
} from "../../dsl/index.ts";
import { pictureSettings } from "../clip/settings.ts";
import { tinyPictures, tinyTower } from "../clip/tiny.ts";
import { clipNormalization } from "../llava/pictures.ts";
import { qformerLoss } from "./losses.ts";
import type { OptConfig } from "./opt.ts";
import { blip2Codec, qformerCodec } from "./published-config.ts";
import {
  askedQueries,
  blip2Qformer,
  matching,
  normedVision,
  type QformerConfig,
  queryFeatures,
  textFeature,
  textInput,
  visionInput,
  written,
} from "./qformer.ts";
import { blip2Copies, blip2HubRules, qformerHubRules, qformerRules } from "./weights.ts";
import { type Blip2Config, blip2Beginning, blip2Step } from "./writing.ts";

const sizes = whole(1, 2 ** 20);
const rules: SettingRules = {
  ...Object.fromEntries(Object.keys(blip2Qformer).map((key) => [key, sizes])),
  depth: whole(1, 1000),
  context: whole(2, 2 ** 20),
  epsilon: positive,
  visionEpsilon: positive,
};

/**
 * Representation learning: 250,000 steps of 1680 pairs beside ViT-g (section 3.4); that the rate ends at a tenth of its
 * peak is from the released pretrain_stage1.yaml, whose warm-up of 5000 steps is 2000 in the paper. The commands' data
 * has images, not features, so this is for custom jobs that feed `vision` and `ids`.
 */
export const qformerStage: StageRecipe<QformerConfig> = (c, given) => {
  const published = { steps: 250_000, batch: 1680, rate: 1e-4 };
  const s = settled(published, given);
  const { warmup, notes } = scaledWarmUp(2000, published.steps, s.steps);
  return {
    ...s,
    config: c,
    notes,
    stage: defineStage({
      name: "blip2-1",
      loss: (p) => qformerLoss(p, c),
      optimizer: {
        rate: cosine({ peak: s.rate, steps: s.steps, warmup, floor: s.rate / 10 }),
        beta1: 0.9,
        beta2: 0.98,
        weightDecay: 0.05,
      },
    }),
    startsFrom: ["BERT-base"],
  };
};

export const blip2QformerModel = defineModel<QformerConfig>({
  name: "blip2-qformer",
  summary: "BLIP-2's Q-Former on image features: 32 queries, for image-text contrast and matching",
  config: blip2Qformer,
  configs: {
    tiny: {
      ...{ width: 16, depth: 2, heads: 2, mlp: 32, vocab: 264, positions: 64, queries: 4, embed: 8 },
      ...{ visionTokens: 5, visionWidth: 16 },
    },
  },
  rules,
  stages: { "1": qformerStage },
  checkpoints: { layouts: [qformerRules, qformerHubRules], config: qformerCodec },
  paper: { source: "Li et al. 2023, arXiv:2301.12597" },
  build: (p, c) => {
    const [vision, ids] = [normedVision(p, visionInput(c), c), textInput(c)];
    const features = queryFeatures(p, askedQueries(p, vision, c), c);
    const [query, feature] = [axis("query", c.queries), axisOf(features, "feature")];
    const batch = axisOf(ids, "batch");
    const again = p.shared(); // all passes share the Q-Former's weights
    return {
      image: transpose(rename(features, axisOf(features, "token"), query), [batch, query, feature]),
      text: transpose(textFeature(again, ids, c), [batch, feature]),
      match: matching(again, vision, ids, c),
    };
  },
  graphs: {
    caption: {
      summary: "a caption generated from an image: next-token logits at each position",
      build: (p, c) => ({ logits: written(p, normedVision(p, visionInput(c), c), textInput(c), c).logits }),
    },
  },
});

const tower: SettingRules = { width: sizes, depth: whole(1, 1000), heads: sizes, mlp: sizes, epsilon: positive };
const writingRules: SettingRules = {
  vision: { ...tower, activation: word("gelu", "quick_gelu"), ...pictureSettings },
  qformer: { ...tower, queries: sizes, crossEvery: whole(1, 1000) },
  text: { ...tower, vocab: sizes, positions: sizes },
  stop: whole(0, 2 ** 20),
};

const { width, depth, heads, mlp, queries, crossEvery, epsilon } = blip2Qformer;

/** OPT ends a caption with a newline, 50118. */
const writer = (size: string, text: Pick<OptConfig, "width" | "depth" | "heads">) =>
  defineModel<Blip2Config>({
    name: `blip2-opt-${size}`,
    summary: `BLIP-2: ViT-g's tokens through 32 queries of a Q-Former to OPT-${size.toUpperCase()}, which generates text`,
    config: {
      vision: {
        ...{ width: 1408, depth: 39, heads: 16, mlp: 6144, activation: "gelu", epsilon: 1e-6, image: 224, patch: 14 },
      },
      qformer: { width, depth, heads, mlp, queries, crossEvery, epsilon },
      text: { ...text, mlp: 4 * text.width, vocab: 50272, positions: 2048, epsilon: 1e-5 },
      stop: 50118,
    },
    configs: {
      tiny: {
        vision: tinyPictures(14),
        qformer: { ...tinyTower, queries: 4 },
        text: { ...tinyTower, vocab: 264, positions: 128 },
        stop: 13, // a newline byte
      },
    },
    rules: writingRules,
    checkpoints: { layouts: [blip2HubRules], config: blip2Codec, copies: blip2Copies },
    paper: { source: "Li et al. 2023, arXiv:2301.12597" },
    preprocessing: { ...clipNormalization, fit: "squash", interpolation: "bicubic" },
    modes: {
      caption: { begin: "prefill", step: "decode", limit: (c) => c.text.positions, stops: (c) => [c.stop] },
      generate: { step: "decode", limit: (c) => c.text.positions },
    },
    build: blip2Beginning,
    graphs: {
      prefill: {
        summary: "prefill of an image and a prompt: next-token logits, keys and values",
        build: blip2Beginning,
      },
      decode: {
        summary: "a decoding step with the KV cache: logits of the next tokens, updated keys and values",
        build: blip2Step,
      },
    },
  });

/** 3,744,679,936 and 7,752,738,304 parameters. */
export const blip2Models = [
  writer("2.7b", { width: 2560, depth: 32, heads: 32 }),
  writer("6.7b", { width: 4096, depth: 32, heads: 32 }),
] as const;

/** All models of the family. */
export const blip2Family: readonly Model[] = [
  blip2QformerModel as unknown as Model,
  ...blip2Models.map((model) => model as unknown as Model),
];
