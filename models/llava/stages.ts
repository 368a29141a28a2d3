/**
 * LLaVA-1.5's training. Liu et al. 2023, arXiv:2310.03744, section 3.3 and table 9; released scripts/v1_5, pretrain.sh
 * and finetune.sh. Anything else is the default of transformers' TrainingArguments: gradients clipped to a norm of 1,
 * AdamW's betas 0.9 and 0.999; a warm-up of 3 % is rounded up, and the cosine ends at 0.
 */
import { cosine, defineStage, type ImagePlan, type StageRecipe, settled, whole, word } from "../../dsl/index.ts";
import { conversationData, plainTemplate, recipeOf, trainingTemplates, vicunaTemplate } from "../internvl/index.ts";
import { type LlavaConfig, llavaImageTokens, llavaLoss } from "./llava.ts";
import { clipNormalization } from "./pictures.ts";

interface LlavaStage {
  readonly name: string;
  readonly trainable: readonly string[];
  readonly rate: number;
  readonly batch: number;
  readonly samples: number;
  readonly template: string;
  /** The pre-training script uses CLIP's own preprocessing. */
  readonly fit: ImagePlan["fit"];
  readonly startsFrom: readonly string[];
}

const stage =
  ({ name, trainable, samples, fit, startsFrom, ...rest }: LlavaStage): StageRecipe<LlavaConfig> =>
  (c, given) => {
    const { batch, rate, template } = rest;
    const published = {
      ...{ steps: Math.ceil(samples / batch), batch, rate },
      ...{ length: c.text.context || 2048, template, tooLong: "cut" },
    };
    const s = settled(published, given);
    const config: LlavaConfig = { ...c, text: { ...c.text, context: s.length } };
    const written = trainingTemplates.find((t) => t.name === s.template) ?? vicunaTemplate;
    return {
      ...recipeOf(s),
      rules: {
        length: whole(llavaImageTokens(config) + 2, 2 ** 20),
        template: word(...trainingTemplates.map((t) => t.name)),
        tooLong: word("cut", "drop"),
      },
      config,
      stage: defineStage({
        name: `llava-${name}`,
        loss: (p) => llavaLoss(p, config),
        trainable,
        optimizer: {
          rate: cosine({ peak: s.rate, steps: s.steps, warmup: Math.ceil(0.03 * s.steps) }),
          weightDecay: 0,
          clip: 1,
        },
      }),
      data: conversationData(
        {
          image: { size: c.vision.image, fit, normalization: clipNormalization },
          place: { id: c.imageToken, tokens: llavaImageTokens(config) },
          text: config.text,
        },
        { template: written, tooLong: s.tooLong, packed: 1 },
      ),
      startsFrom,
    };
  };

const glue = "multi_modal_projector.**";

/** Pre-training of the projector: 558,128 captioned images. */
export const llavaPretraining = stage({
  name: "pretrain",
  trainable: [glue],
  rate: 1e-3,
  batch: 256,
  samples: 558_128,
  template: plainTemplate.name,
  fit: "crop",
  startsFrom: ["CLIP ViT-L/14 at 336 pixels", "Vicuna v1.5"],
});

/** Fine-tuning of the projector and the language model: 665,298 conversations. */
export const llavaTuning = stage({
  name: "finetune",
  trainable: [glue, "language_model.**"],
  rate: 2e-5,
  batch: 128,
  samples: 665_298,
  template: vicunaTemplate.name,
  fit: "pad",
  startsFrom: ["the pre-trained projector"],
});
