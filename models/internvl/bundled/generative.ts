/** InternVL-G. */
import { type CaptionMode, defineModel, transpose } from "../../../dsl/index.ts";
import { compare, features, ofVision, paper, preprocessing, states, stepSummary } from "../common-records.ts";
import { idsInput, logitScale, textEmbedding, visionTokens } from "../contrastive.ts";
import { captionPrefill, captionStep } from "../decoding.ts";
import { type GenerativeConfig, imageEmbeddingG, internvlGConfig, matching } from "../generative.ts";
import { familyCheckpoints } from "../inheritance.ts";
import { pixelsInput } from "../internvit.ts";
import { languageHead, textAxes } from "../llama.ts";
import { generativeMacs } from "../macs.ts";
import { qllama } from "../qllama.ts";
import { generativeSettings } from "../setting-rules.ts";
import { retrievalTuning, stageTwo } from "../stages.ts";
import { tiny } from "../tiny.ts";
import { generativeRules } from "../weights.ts";

/** QLLaMA's positions, shared by its queries, the prompt and the new tokens. */
const qllamaLimit = 2048;

/** How InternVL's captions are evaluated. Chen et al. 2023, released code evaluate_caption.py. */
const caption: CaptionMode<GenerativeConfig> = {
  begin: "prefill",
  step: "decode",
  limit: qllamaLimit,
  prompt: "English caption:",
  beams: 5,
  minTokens: 8,
  maxTokens: 30,
};

/** Everything that InternVL-14B does with an image: contrastive embedding, matching, captioning. */
export const internvlG = defineModel<GenerativeConfig>({
  name: "internvl-g",
  summary: "InternVL-G: InternViT-6B and QLLaMA, for image-text contrast, matching and captioning",
  config: internvlGConfig,
  configs: { tiny: tiny.generative },
  rules: generativeSettings,
  stages: { 2: stageTwo, retrieval: retrievalTuning },
  checkpoints: familyCheckpoints("internvl-g", generativeRules),
  paper: paper(generativeMacs),
  preprocessing,
  modes: { features, compare, caption },
  build: (p, c) => {
    const [a, pixels] = [textAxes(c.text), pixelsInput(c.vision)];
    const vision = visionTokens(p, pixels, c);
    const written = qllama(p, vision, idsInput(c.text, "caption_ids"), c.text, "generative").text;
    const again = p.shared(); // all passes share the towers' weights
    return {
      image: imageEmbeddingG(again, pixels, c),
      text: textEmbedding(again, idsInput(c.text), c),
      scale: logitScale(p),
      match: matching(again, vision, idsInput(c.text, "matching_ids"), c),
      logits: transpose(languageHead(p.scope("qllama"), written, a, c.text), [a.batch, a.token, a.vocab]),
    };
  },
  graphs: {
    prefill: {
      summary: "prefill of an image and a caption prompt: next-token logits, keys and values",
      build: captionPrefill,
    },
    decode: { summary: stepSummary, build: captionStep },
    states: states("vision_model", ofVision),
  },
});
