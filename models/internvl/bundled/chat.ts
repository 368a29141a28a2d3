/** InternVL-Chat: path A for each language model, and path B. */
import {
  type ChatTemplate,
  defineModel,
  type Model,
  type StageRecipe,
  type TokenRun,
  transpose,
} from "../../../dsl/index.ts";
import { listed } from "../../listed.ts";
import {
  type ChatConfig,
  type ChatQueriesConfig,
  chatConfig,
  chatQueriesConfig,
  conversation,
  imageToken,
  visualTokenCount,
} from "../chat.ts";
import { internlmTemplate, limitedBy, templatesFrom, textLimit, vicunaTemplate } from "../chat-templates.ts";
import {
  features,
  ofVision,
  paper,
  preprocessing,
  type Stages,
  states,
  stepSummary,
  textSummary,
} from "../common-records.ts";
import { idsInput } from "../contrastive.ts";
import { chatPrefill, decodeStep, prefill } from "../decoding.ts";
import { familyCheckpoints } from "../inheritance.ts";
import { pixelsInput } from "../internvit.ts";
import { languageHead, type TextConfig, textAxes } from "../llama.ts";
import { chatMacs } from "../macs.ts";
import { chatSettings } from "../setting-rules.ts";
import { patchSteps, querySteps } from "../stages.ts";
import { wordCopies } from "../tied-words.ts";
import { tiny } from "../tiny.ts";
import { chatRules } from "../weights.ts";

const imageRun = (c: ChatConfig): TokenRun => ({ id: imageToken, length: visualTokenCount(c) });

const chat = <C extends ChatConfig>(name: string, summary: string, config: C, stages: Stages<C>): Model =>
  listed(
    defineModel<C>({
      name,
      summary,
      config,
      configs: { tiny: "qllama" in config ? tiny.chatOfQueries : tiny.chat },
      rules: chatSettings,
      stages,
      checkpoints: { ...familyCheckpoints<C>(name, chatRules), copies: (c) => wordCopies(c.text) },
      paper: paper(chatMacs),
      preprocessing,
      modes: {
        features,
        chat: {
          begin: "prefill",
          step: "decode",
          templates: (c) => limitedBy(c.text, templatesFrom(templateOf(c.text))),
        },
        generate: { step: "decode", limit: (c) => textLimit(c.text, templateOf(c.text)) },
      },
      build: (p, c) => {
        const a = textAxes(c.text);
        const { last } = conversation(p, pixelsInput(c.vision), idsInput(c.text), c);
        return { logits: transpose(languageHead(p, last, a, c.text), [a.batch, a.token, a.vocab]) };
      },
      runs: (c) => ({ ids: imageRun(c) }),
      graphs: {
        prefill: {
          summary: "prefill of a prompt with an image: next-token logits, keys and values",
          build: chatPrefill,
          runs: (c) => ({ input_ids: imageRun(c) }),
        },
        "text-prefill": {
          summary: textSummary,
          build: (p, c) => prefill(p, c.text),
        },
        decode: { summary: stepSummary, build: (p, c) => decodeStep(p, c.text) },
        states: states("vision_model", ofVision),
      },
    }),
  );

/** InternLM's template if attention has biases, which only InternLM's has, else Vicuna's. */
const templateOf = (text: TextConfig): ChatTemplate => (text.attentionBias ? internlmTemplate : vicunaTemplate);

const [glue, glueAndDecoder] = patchSteps as [StageRecipe<ChatConfig>, StageRecipe<ChatConfig>];

/** The stage in the paper's table (the language model and the MLP), and its two phases. */
const patchStages: Stages<ChatConfig> = { 3: glueAndDecoder, "3.1": glue, "3.2": glueAndDecoder };

/** The stage in the paper's table (the MLPs), and optional further ones: the language model, or QLLaMA. */
const queryStages = Object.fromEntries(
  ["3", "3.1", "3.2", "3.3"].map((name, i) => [name, querySteps[Math.max(0, i - 1)]!]),
) as unknown as Stages<ChatQueriesConfig>;

export const patches = (llm: string, title: string, text: TextConfig) =>
  chat(
    `internvl-chat-${llm}`,
    `InternVL-Chat: InternViT-6B's patches through an MLP to ${title}`,
    chatConfig(text),
    patchStages,
  );
export const queries = (llm: string, title: string, text: TextConfig) =>
  chat(
    `internvl-chat-${llm}-qllama`,
    `InternVL-Chat: QLLaMA's queries and InternViT-6B's patches through an MLP each to ${title}`,
    chatQueriesConfig(text),
    queryStages,
  );
