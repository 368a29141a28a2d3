/** A small InternVL-C for the command line, with bytes as its vocabulary. */
import { defineModel } from "../../dsl/index.ts";
import { internvlC } from "../../models/index.ts";

export default defineModel({
  ...internvlC,
  name: "tiny",
  config: {
    vision: {
      width: 16,
      depth: 2,
      heads: 2,
      mlp: 24,
      image: 16,
      patch: 8,
      positions: 0,
      dropPath: 0,
      dropPathRule: "uniform",
      layerScale: 0.5,
    },
    text: {
      width: 16,
      depth: 2,
      heads: 2,
      mlp: 24,
      vocab: 259,
      context: 20,
      epsilon: 1e-6,
      attentionBias: false,
      rotaryBase: 10000,
    },
    embed: 8,
    poolingHeads: 2,
  },
});
