/** InternViT alone. */
import { defineModel, under } from "../../../dsl/index.ts";
import { features, paper, preprocessing, states } from "../common-records.ts";
import { familyCheckpoints } from "../inheritance.ts";
import { internvit, internvit6b, pixelsInput, type VisionConfig } from "../internvit.ts";
import { visionMacs } from "../macs.ts";
import { visionSettings } from "../setting-rules.ts";
import { tiny } from "../tiny.ts";
import { visionRules } from "../weights.ts";

const encoder = (name: string, summary: string, config: VisionConfig) =>
  defineModel<VisionConfig>({
    name,
    summary,
    config,
    configs: { tiny: tiny.encoder },
    rules: visionSettings,
    checkpoints: familyCheckpoints(name, visionRules, under("", "vision_model", visionRules)),
    paper: paper((c) => visionMacs(c)),
    preprocessing,
    modes: { features },
    build: (p, c) => ({ features: internvit(p, pixelsInput(c), c).at(-1)! }),
    graphs: { states: states("", (c) => c) },
  });

/** InternViT alone: the features of all tokens after the last block. */
export const internvitModels = [
  encoder("internvit-6b", "InternViT-6B: 48 blocks of width 3200, all tokens after the last block", internvit6b),
  encoder("internvit-6b-45", "InternViT-6B without its last three blocks, as the chat models read it", {
    ...internvit6b,
    depth: 45,
  }),
];
