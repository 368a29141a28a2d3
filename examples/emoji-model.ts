/**
 * A small InternVL-C: the blocks of InternViT-6B and LLaMA-7B at smaller sizes, for images of 32 pixels and short
 * names.
 */
import { defineModel, imagenetPreprocessing } from "../dsl/index.ts";
import { type ContrastiveConfig, internvlC } from "../models/index.ts";

const config: ContrastiveConfig = {
  vision: {
    width: 128,
    depth: 3,
    heads: 4,
    mlp: 512,
    image: 32,
    patch: 8,
    positions: 0,
    dropPath: 0,
    dropPathRule: "uniform",
    layerScale: 1,
  },
  text: {
    width: 128,
    depth: 2,
    heads: 4,
    mlp: 320,
    vocab: 3000,
    context: 12,
    epsilon: 1e-6,
    attentionBias: false,
    rotaryBase: 10000,
  },
  embed: 128,
  poolingHeads: 4,
};

export default defineModel<ContrastiveConfig>({
  ...internvlC,
  name: "emoji-model",
  summary: "a small InternVL-C for emoji and their names",
  config,
  // Names need no cleaning or prefix, and square drawings no cropping.
  modes: { ...internvlC.modes, compare: {} },
  preprocessing: { ...imagenetPreprocessing, fit: "squash" },
});
