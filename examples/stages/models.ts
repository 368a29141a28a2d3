/** The models of the three stages: the emoji model, then queries and cross-attention, then a language model; pictures grow. */
import type { ChatQueriesConfig, ContrastiveConfig, GenerativeConfig } from "../../models/index.ts";
import emojiModel from "../emoji-model.ts";

const { vision, text, embed, poolingHeads } = emojiModel.config;

/** Stage 1: InternVL-C at 32 pixels. */
export const contrastive: ContrastiveConfig = emojiModel.config;

/** Stage 2: InternVL-G at 40 pixels; texts are longer by the language that stands before a caption. */
export const generative: GenerativeConfig = {
  vision: { ...vision, image: 40 },
  text: { ...text, context: 16, queries: 8, crossEvery: 2 },
  embed,
  poolingHeads,
};

/** Stage 3: InternVL-Chat by path B at 48 pixels: 8 queries and 36 patches, then a question and its answer. */
export const chat: ChatQueriesConfig = {
  vision: { ...vision, image: 48 },
  qllama: generative.text,
  text: { ...text, context: 80 },
  features: -1,
};
