/** Checkpoints of a LLaMA whose words are tied may hold them twice: as the embedding, and as the matrix of scores. */
import type { TensorCopy } from "../../dsl/index.ts";
import { type TextConfig, variantOf } from "./llama.ts";

/** Beginnings of the names of scores, and those of the embedding beside them. */
const scopes = [
  ["", "model."],
  ["", "model.language_model."],
  ["language_model.", "language_model.model."],
] as const;

export const wordCopies = (text: TextConfig): TensorCopy[] =>
  variantOf(text).tied
    ? scopes.map(([scores, words]) => ({
        name: `${scores}lm_head.weight`,
        of: `${words}embed_tokens.weight`,
        setting: '"tie_word_embeddings": true',
      }))
    : [];
