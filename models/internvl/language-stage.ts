/** The language models alone, trained on plain text. */
import { defineModel, languageModelling, type Model, type Tensor } from "../../dsl/index.ts";
import type { TextConfig } from "./llama.ts";

/** LLaMA-2's context length: Touvron et al. 2023, arXiv:2307.09288, section 2.2. */
const publishedContext = 4096;

/** Adds a stage on plain text to a decoder, which then treats no id as padding. */
export const onTexts = (model: Model<TextConfig>): Model<TextConfig> =>
  defineModel<TextConfig>({
    ...model,
    stages: {
      ...model.stages,
      "language-modelling": languageModelling<TextConfig>({
        scores: (p, _, { token }, c) =>
          model.build(p, { ...c, context: token.size as number }).logits as Tensor<"batch" | "token" | "vocab">,
        vocab: (c) => c.vocab,
        length: ({ context }) => (context === 0 ? publishedContext : context),
      }),
    },
  });
