/** Flamingo in its three sizes as models that commands know by name. */
import { defineModel, input, type Model, positive, type SettingRules, whole } from "../../dsl/index.ts";
import { type FlamingoConfig, flamingo, flamingoAxes, flamingoScores, mediaInput } from "./flamingo.ts";
import { flamingoParts, flamingoRules } from "./weights.ts";

const sizes = whole(1, 2 ** 20);
const layers: SettingRules = { heads: sizes, headDim: sizes, mlp: sizes };
const rules: SettingRules = {
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

const tinyLayers = { heads: 2, headDim: 8, mlp: 32 };
const tiny = {
  ...{ visionWidth: 16, places: 4, times: 2, latents: 4, imageToken: 260 },
  resampler: { ...tinyLayers, depth: 2 },
  gated: tinyLayers,
  text: { width: 16, depth: 2, heads: 2, mlp: 32, vocab: 264, positions: 64 },
};

/** Tables 4 and 5 of the paper. What it leaves open of the language model is GPT-2's: see README.md. */
const size = (name: string, width: number, depth: number, heads: number, every: number) =>
  defineModel<FlamingoConfig>({
    name,
    summary: `Flamingo: features of images through a resampler into ${Math.ceil(depth / every)} gated layers of a language model`,
    config: {
      visionWidth: 1536,
      places: 100,
      frames: 1,
      times: 8,
      latents: 64,
      resampler: { depth: 6, heads: 16, headDim: 96, mlp: 4 * 1536 },
      gated: { every, heads, headDim: 128, mlp: 4 * width },
      text: { width, depth, heads, mlp: 4 * width, vocab: 32002, positions: 2048, epsilon: 1e-5 },
      imageToken: 32000,
    },
    configs: { tiny },
    rules,
    checkpoints: { layouts: [flamingoRules], parts: flamingoParts },
    paper: { source: "Alayrac et al. 2022, arXiv:2204.14198" },
    build: (p, c) => {
      const a = flamingoAxes(c);
      const ids = input("ids", "i32", [a.batch, a.token]);
      return { logits: flamingoScores(p, flamingo(p, mediaInput(c), ids, c), c) };
    },
  });

export const flamingoModels = [
  size("flamingo-3b", 2048, 24, 16, 1),
  size("flamingo-9b", 4096, 40, 32, 4),
  size("flamingo-80b", 8192, 80, 64, 7),
] as const;

/** All of the family. */
export const flamingoFamily: readonly Model[] = flamingoModels.map((model) => model as unknown as Model);
