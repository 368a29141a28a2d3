/** InternVL-C. */
import { defineModel } from "../../../dsl/index.ts";
import { compare, features, ofVision, paper, preprocessing, states } from "../common-records.ts";
import {
  type ContrastiveConfig,
  idsInput,
  imageEmbedding,
  internvlCConfig,
  logitScale,
  textEmbedding,
} from "../contrastive.ts";
import { familyCheckpoints } from "../inheritance.ts";
import { pixelsInput } from "../internvit.ts";
import { contrastiveMacs } from "../macs.ts";
import { contrastiveSettings } from "../setting-rules.ts";
import { stageOne, stageOneAlone, stageOneFull } from "../stages.ts";
import { tiny } from "../tiny.ts";
import { contrastiveRules } from "../weights.ts";

/** Both towers: pixels and ids to unit vectors and the temperature. */
export const internvlC = defineModel<ContrastiveConfig>({
  name: "internvl-c",
  summary: "InternVL-C: InternViT-6B and multilingual LLaMA-7B, compared by cosine",
  config: internvlCConfig,
  configs: { tiny: tiny.contrastive },
  rules: contrastiveSettings,
  stages: { 1: stageOneAlone, "1.1": stageOne, "1.2": stageOneFull },
  checkpoints: familyCheckpoints("internvl-c", contrastiveRules),
  paper: paper(contrastiveMacs),
  preprocessing,
  modes: { features, compare },
  graphs: { states: states("vision_model", ofVision) },
  build: (p, c) => ({
    image: imageEmbedding(p, pixelsInput(c.vision), c),
    text: textEmbedding(p, idsInput(c.text), c),
    scale: logitScale(p),
  }),
});
