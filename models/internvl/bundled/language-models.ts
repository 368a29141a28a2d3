/** InternVL-Chat's language models, alone. */
import { type ChatTemplate, defineModel, transpose } from "../../../dsl/index.ts";
import { internlm7b, vicuna7b, vicuna13b } from "../chat.ts";
import { internlmTemplate, limitedBy, templatesFrom, textLimit, vicunaTemplate } from "../chat-templates.ts";
import { paper, stepSummary, textSummary } from "../common-records.ts";
import { idsInput } from "../contrastive.ts";
import { decodeStep, prefill } from "../decoding.ts";
import { familyCheckpoints } from "../inheritance.ts";
import { onTexts } from "../language-stage.ts";
import { languageHead, llama, type TextConfig, textAxes } from "../llama.ts";
import { decoderMacs } from "../macs.ts";
import { textSettings } from "../setting-rules.ts";
import { wordCopies } from "../tied-words.ts";
import { tiny } from "../tiny.ts";
import { causalRules } from "../weights.ts";

/** A language model alone: next-token logits at every position. */
const languageModel = (name: string, title: string, config: TextConfig, template: ChatTemplate) =>
  defineModel<TextConfig>({
    name,
    summary: `${title}: next-token logits`,
    config,
    configs: { tiny: tiny.language },
    rules: textSettings,
    checkpoints: { ...familyCheckpoints<TextConfig>(name, causalRules), copies: wordCopies },
    paper: paper((c) => decoderMacs(c, c.context, c.context)),
    modes: {
      generate: { step: "decode", limit: (c) => textLimit(c, template) },
      chat: { step: "decode", templates: (c) => limitedBy(c, templatesFrom(template)) },
    },
    build: (p, c) => {
      const [a, ids] = [textAxes(c), idsInput(c)];
      const logits = languageHead(p, llama(p.scope("model"), ids, c), a, c);
      return { logits: transpose(logits, [a.batch, a.token, a.vocab]) };
    },
    graphs: {
      prefill: { summary: textSummary, build: prefill },
      decode: { summary: stepSummary, build: decodeStep },
    },
  });

export const languageModels = [
  languageModel("vicuna-7b", "Vicuna-7B, which is LLaMA-2", vicuna7b, vicunaTemplate),
  languageModel("vicuna-13b", "Vicuna-13B, which is LLaMA-2", vicuna13b, vicunaTemplate),
  languageModel("internlm-7b", "InternLM-7B, a LLaMA with biases in attention", internlm7b, internlmTemplate),
].map(onTexts);
