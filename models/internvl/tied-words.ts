/** Checkpoints of a LLaMA with tied embeddings may store them twice: as the embedding and as the output matrix. */
import type { TensorCopy } from "../../dsl/index.ts";
import { type TextConfig, variantOf } from "./llama.ts";

/** Name prefixes of the output matrix and of its embedding. */
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
