/** The models of the three stages: the emoji model, then queries and cross-attention, then a language model. */
import type { ChatQueriesConfig, ContrastiveConfig, GenerativeConfig } from "../../models/index.ts";
import emojiModel from "../emoji-model.ts";

const { vision, text, embed, poolingHeads } = emojiModel.config;

/** Stage 1: InternVL-C. */
export const contrastive: ContrastiveConfig = emojiModel.config;

/** Stage 2: InternVL-G, with images as before. Texts are longer by the language before a caption. */
export const generative: GenerativeConfig = {
  vision,
  text: { ...text, context: 14, queries: 8, crossEvery: 2 },
  embed,
  poolingHeads,
};

/** Stage 3: InternVL-Chat by path B: 8 queries and 16 patches, then questions and their answers. */
export const chat: ChatQueriesConfig = {
  vision,
  qllama: generative.text,
  text: { ...text, context: 80 },
  features: -1,
};
