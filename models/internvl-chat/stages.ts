/** How InternVL-Chat 1.2 was tuned: released script internvl_chat_v1_2_hermes2_yi34b_448_res_finetune.sh. */
import { cosine, defineStage, imagenetPreprocessing, type StageRecipe, settled, whole, word } from "../../dsl/index.ts";
import { conversationData, recipeOf } from "../internvl/index.ts";
import { type InternvlChatConfig, tiledLoss, tokensOfTile } from "./chat.ts";
import { hermesTemplate, tiledTemplates } from "./templates.ts";

/** All parameters over 1.2 million conversations about whole pictures, once. */
export const chatTuning: StageRecipe<InternvlChatConfig> = (c, given) => {
  const published = {
    ...{ steps: Math.ceil(1_200_000 / 512), batch: 512, rate: 1e-5, dropPath: 0.4 },
    ...{ length: c.text.context || 2048, template: c.chatTemplate, tooLong: "cut" },
  };
  const s = settled(published, given);
  const config: InternvlChatConfig = {
    ...c,
    vision: { ...c.vision, dropPath: s.dropPath, dropPathRule: "linear" },
    text: { ...c.text, context: s.length },
  };
  const { mean, std } = imagenetPreprocessing;
  return {
    ...recipeOf(s),
    rules: {
      length: whole(tokensOfTile(config) + 2, 2 ** 20),
      template: word(...tiledTemplates.map((t) => t.name)),
      tooLong: word("cut", "drop"),
    },
    config,
    stage: defineStage({
      name: "internvl-chat-finetune",
      loss: (p) => tiledLoss(p, config, { whole: true }),
      trainable: ["vision_model.**", "mlp1.**", "language_model.**"],
      optimizer: {
        rate: cosine({ peak: s.rate, steps: s.steps, warmup: Math.ceil(0.03 * s.steps) }),
        weightDecay: 0.05,
      },
    }),
    data: conversationData(
      {
        image: { size: c.vision.image, fit: "squash", normalization: { mean, std } },
        place: { id: c.imageToken, tokens: tokensOfTile(config) },
        text: config.text,
      },
      { template: tiledTemplates.find((t) => t.name === s.template) ?? hermesTemplate, tooLong: s.tooLong, packed: 1 },
    ),
    startsFrom: ["InternViT-6B-448px", "Nous-Hermes-2-Yi-34B", "a pre-trained projector"],
  };
};
