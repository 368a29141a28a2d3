/** Flamingo in its three sizes as named models. */

import { defineModel, input, type Model, positive, type SettingRules, whole } from "../../dsl/index.ts";
import { clipSettings } from "../clip/settings.ts";
import { tinyPictures } from "../clip/tiny.ts";
import type { ClipVisionConfig } from "../clip/vision.ts";
import { clipNormalization } from "../llava/pictures.ts";
import { type FlamingoConfig, flamingo, flamingoAxes, flamingoScores, mediaOf } from "./flamingo.ts";
import { flamingoCodec } from "./published-config.ts";
import { flamingoParts, flamingoRules } from "./weights.ts";
import { flamingoBeginning, flamingoStep } from "./writing.ts";

const sizes = whole(1, 2 ** 20);
const layers: SettingRules = { heads: sizes, headDim: sizes, mlp: sizes };
const rules: SettingRules = {
  vision: { ...(clipSettings.vision as SettingRules), depth: whole(0, 1000) },
  visionWidth: sizes,
  places: sizes,
  frames: sizes,
  times: sizes,
  latents: sizes,
  resampler: { ...layers, depth: whole(1, 1000) },
  gated: { ...layers, every: whole(1, 1000) },
  text: {
    width: sizes,
    depth: whole(1, 1000),
    heads: sizes,
    mlp: sizes,
    vocab: sizes,
    positions: sizes,
    epsilon: positive,
  },
};

/** CLIP ViT-L/14, with the 256 patches that OpenFlamingo uses. */
const clipTower: ClipVisionConfig = {
  ...{ width: 1024, depth: 24, heads: 16, mlp: 4096, activation: "quick_gelu", epsilon: 1e-5, image: 224, patch: 14 },
};

const tinyLayers = { heads: 2, headDim: 8, mlp: 32 };
const tiny = {
  vision: tinyPictures(clipTower.patch),
  ...{ visionWidth: 16, places: 4, times: 2, latents: 4, imageToken: 260, endToken: 261 },
  resampler: { ...tinyLayers, depth: 2 },
  gated: tinyLayers,
  text: { width: 16, depth: 2, heads: 2, mlp: 32, vocab: 264, positions: 64 },
};

/** Tables 4 and 5 of the paper. Where it does not specify the language model, this is GPT-2's: see README.md. */
const size = (name: string, width: number, depth: number, heads: number, every: number) =>
  defineModel<FlamingoConfig>({
    name,
    summary: `Flamingo: image features through a resampler into ${Math.ceil(depth / every)} gated layers of a language model`,
    config: {
      vision: { ...clipTower, depth: 0 },
      visionWidth: 1536,
      places: 100,
      frames: 1,
      times: 8,
      latents: 64,
      resampler: { depth: 6, heads: 16, headDim: 96, mlp: 4 * 1536 },
      gated: { every, heads, headDim: 128, mlp: 4 * width },
      text: { width, depth, heads, mlp: 4 * width, vocab: 32002, positions: 2048, epsilon: 1e-5 },
      imageToken: 32000,
      endToken: 32001,
    },
    configs: { tiny, clip: { vision: clipTower, visionWidth: clipTower.width, places: 256 } },
    rules,
    checkpoints: { layouts: [flamingoRules], parts: flamingoParts, config: flamingoCodec },
    paper: { source: "Alayrac et al. 2022, arXiv:2204.14198" },
    preprocessing: clipNormalization,
    modes: {
      caption: {
        begin: "prefill",
        step: "decode",
        limit: (c) => c.text.positions,
        prompt: "Output:",
        pictures: (c) => ({ id: c.imageToken, end: c.endToken }),
        stops: (c) => [c.endToken],
      },
    },
    build: (p, c) => {
      const a = flamingoAxes(c);
      const ids = input("ids", "i32", [a.batch, a.token]);
      return { logits: flamingoScores(p, flamingo(p, mediaOf(p, c), ids, c), c) };
    },
    graphs: {
      prefill: { summary: "prefill of images and text: next-token logits, keys and values", build: flamingoBeginning },
      decode: {
        summary: "a decoding step with the KV cache: logits of the next tokens, updated keys and values",
        build: flamingoStep,
      },
    },
  });

export const flamingoModels = [
  size("flamingo-3b", 2048, 24, 16, 1),
  size("flamingo-9b", 4096, 40, 32, 4),
  size("flamingo-80b", 8192, 80, 64, 7),
] as const;

/** All models of the family. */
export const flamingoFamily: readonly Model[] = flamingoModels.map((model) => model as unknown as Model);
