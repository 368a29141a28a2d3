/** InternVL-Chat 1.2 and 1.5, and their language models, as named models. */
import {
  type ChatTemplate,
  type ConfigCodec,
  defineModel,
  imagenetPreprocessing,
  type Model,
  type Preprocessing,
  type SettingRules,
  type TensorRule,
  transpose,
  whole,
  word,
} from "../../dsl/index.ts";
import { features, ofVision, states as statesOf } from "../internvl/common-records.ts";
import {
  bareTemplate,
  causalRules,
  decoderMacs,
  decodeStep,
  fitPositions,
  idsInput,
  internvit6b,
  languageHead,
  limitedBy,
  llama,
  patchCount,
  positionsFit,
  prefill,
  publishedCodec,
  type TextConfig,
  textAxes,
  textLimit,
  tinyText,
  tinyVision,
  type VisionConfig,
  vicuna7b,
  visionMacs,
  withKeyHeads,
  wordCopies,
} from "../internvl/index.ts";
import { textSettings, visionSettings } from "../internvl/setting-rules.ts";
import { listed } from "../listed.ts";
import {
  type InternvlChatConfig,
  languagePart,
  tiledConversation,
  tiledPrefill,
  tiledScores,
  tilesInput,
  tokensOfTile,
} from "./chat.ts";
import {
  internlm2Notes,
  internlm2Rules,
  internlm2With20b,
  readInternlm2Config,
  writeInternlm2Config,
} from "./internlm2.ts";
import { chatCodec, type Language } from "./published-config.ts";
import { chatPretraining, chatTuning, tiledPretraining, tiledTuning } from "./stages.ts";
import { hermesTemplate, internlm2Template, tiledTemplates } from "./templates.ts";
import { chatHubRules, chatHubRules5, chatInternlm2Rules, chatLlamaRules } from "./weights.ts";

/** InternViT-6B-448px without its last three blocks, which the chat models do not use: 5,536,496,000 parameters. */
const vision448: VisionConfig = { ...internvit6b, depth: 45, image: 448, dropPathRule: "linear" };

/** Nous-Hermes-2-Yi-34B, a LLaMA with grouped-query attention: 34,388,917,248 parameters. */
const hermesYi34b: TextConfig = {
  ...vicuna7b,
  width: 7168,
  depth: 60,
  heads: 56,
  keyHeads: 8,
  mlp: 20480,
  vocab: 64000,
  rotaryBase: 5e6,
};

/**
 * 1.2: the image squashed to 448 pixels, 256 tokens, and Nous-Hermes-2-Yi-34B. The id of its <IMG_CONTEXT> is not
 * known.
 */
export const chat12: InternvlChatConfig = {
  vision: vision448,
  text: hermesYi34b,
  features: -1,
  shrink: 2,
  shuffle: "v1",
  imageToken: -200,
  leastTiles: 1,
  mostTiles: 1,
  thumbnail: false,
  chatTemplate: hermesTemplate.name,
};

/**
 * 1.5: up to 12 tiles and a thumbnail of 256 tokens each, and InternLM2-20B with 9 more tokens, of which 92546 is
 * <IMG_CONTEXT>.
 */
export const chat15: InternvlChatConfig = {
  ...chat12,
  text: { ...internlm2With20b, vocab: 92553, context: 4096 },
  shuffle: "v2",
  imageToken: 92546,
  mostTiles: 12,
  thumbnail: true,
  chatTemplate: internlm2Template.name,
};

const tinyGroups = { ...tinyText, heads: 4, keyHeads: 2 };

const stepSummary = "a decoding step with the KV cache: logits of the next tokens, updated keys and values";
const textSummary = "prefill of a prompt without an image: next-token logits, keys and values";

/** The templates with the configured one first. */
const templatesOf = ({ chatTemplate }: InternvlChatConfig): readonly ChatTemplate[] => [
  ...tiledTemplates.filter((t) => t.name === chatTemplate),
  ...tiledTemplates.filter((t) => t.name !== chatTemplate),
];

interface LanguageModel {
  readonly name: string;
  readonly summary: string;
  readonly config: TextConfig;
  readonly template: ChatTemplate;
  readonly layouts: readonly (readonly TensorRule[])[];
  readonly codec: ConfigCodec<TextConfig>;
  readonly source: string;
}

/** A language model alone: next-token logits at every position. */
const languageModel = ({ name, summary, config, template, layouts, codec, source }: LanguageModel) =>
  defineModel<TextConfig>({
    name,
    summary,
    config,
    configs: { tiny: tinyGroups },
    rules: textSettings,
    checkpoints: { layouts, parts: ["language_model."], config: codec, copies: wordCopies },
    paper: { source, macs: (c) => decoderMacs(c, c.context, c.context) },
    modes: {
      generate: { step: "decode", limit: (c) => textLimit(c, template) },
      chat: { step: "decode", templates: (c) => limitedBy(c, [template, bareTemplate]) },
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

const internlm2Codec: ConfigCodec<TextConfig> = {
  types: ["internlm2"],
  incidental: ["maxPositions"],
  read: (json, config) => ({ ...withKeyHeads(readInternlm2Config(json), config), context: config.context }),
  notes: internlm2Notes,
  write: writeInternlm2Config,
};

export const groupedLanguageModels = [
  languageModel({
    name: "nous-hermes-2-yi-34b",
    summary: "Nous-Hermes-2-Yi-34B, a LLaMA with grouped queries: next-token logits",
    config: hermesYi34b,
    template: hermesTemplate,
    layouts: [causalRules],
    codec: publishedCodec("nous-hermes-2-yi-34b"),
    source: "Young et al. 2024, arXiv:2403.04652",
  }),
  languageModel({
    name: "internlm2-20b",
    summary: "InternLM2-20B, a LLaMA with grouped queries and fused matrices: next-token logits",
    config: internlm2With20b,
    template: internlm2Template,
    layouts: [internlm2Rules, causalRules],
    codec: internlm2Codec,
    source: "Cai et al. 2024, arXiv:2403.17297",
  }),
] as const;

const rules: SettingRules = {
  vision: visionSettings,
  text: textSettings,
  features: whole(-1001, -1),
  shrink: whole(1, 2 ** 10),
  shuffle: word("v1", "v2"),
  leastTiles: whole(1, 1000),
  mostTiles: whole(1, 1000),
  chatTemplate: word(...tiledTemplates.map((t) => t.name)),
};

/** A chat's images, or their tiles, are squashed; the encoders alone crop, like InternVL's. */
const preprocessing: Preprocessing = {
  ...imagenetPreprocessing,
  fit: { features: "crop", chat: "squash" },
  tiles: (config) => {
    const { leastTiles: least, mostTiles: most, thumbnail } = config as unknown as InternvlChatConfig;
    return { least, most, thumbnail };
  },
};

const tileRun = (c: InternvlChatConfig) => ({ id: c.imageToken, length: tokensOfTile(c) });

/** Multiply-accumulates of a conversation of `context` tokens about an image of one tile. */
function chatMacs(c: InternvlChatConfig): number {
  const [tokens, { width }] = [tokensOfTile(c), c.text];
  const glue = tokens * (c.vision.width * (patchCount(c.vision) / tokens) * width + width ** 2);
  const seen = visionMacs(c.vision, c.vision.depth + 1 + c.features);
  return seen + glue + decoderMacs(c.text, c.text.context, c.text.context);
}

interface ChatModel {
  readonly language: Language;
  readonly name: string;
  readonly summary: string;
  readonly config: InternvlChatConfig;
  readonly source: string;
  readonly stages?: NonNullable<Model<InternvlChatConfig>["stages"]>;
}

const chat = ({ language, name, summary, config, source, stages = {} }: ChatModel) =>
  defineModel<InternvlChatConfig>({
    name,
    summary,
    config,
    configs: { tiny: { vision: { ...tinyVision, image: 56 }, text: tinyGroups, imageToken: 260 } },
    rules,
    stages,
    checkpoints: {
      layouts: [
        ...(language === "internlm2" ? [chatInternlm2Rules, chatLlamaRules] : [chatLlamaRules]),
        chatHubRules,
        chatHubRules5,
      ],
      parts: ["vision_model.", "language_model."],
      fit: positionsFit,
      config: chatCodec(language),
      sizedByTensors: fitPositions,
      copies: (c) => wordCopies(c.text),
    },
    paper: { source, macs: chatMacs },
    preprocessing,
    modes: {
      features,
      chat: { begin: "prefill", step: "decode", templates: (c) => limitedBy(c.text, templatesOf(c)) },
      generate: { step: "decode", limit: (c) => textLimit(c.text, templatesOf(c)[0]!) },
    },
    build: (p, c) => {
      const a = textAxes(c.text);
      const { last } = tiledConversation(p, tilesInput(c), idsInput(c.text), c);
      return { logits: tiledScores(p, last, a, c) };
    },
    runs: (c) => ({ ids: tileRun(c) }),
    graphs: {
      prefill: {
        summary: "prefill of a prompt with the tiles of an image: next-token logits, keys and values",
        build: tiledPrefill,
        runs: (c) => ({ input_ids: tileRun(c) }),
      },
      "text-prefill": { summary: textSummary, build: (p, c) => prefill(languagePart(p), c.text) },
      decode: { summary: stepSummary, build: (p, c) => decodeStep(languagePart(p), c.text) },
      states: statesOf("vision_model", ofVision),
    },
  });

export const tiledChatModels = [
  chat({
    language: "llama",
    name: "internvl-chat-1.2",
    summary: "InternVL-Chat 1.2: InternViT-6B at 448 pixels, four patches a token, to Nous-Hermes-2-Yi-34B",
    config: chat12,
    source: "Chen et al. 2023, arXiv:2312.14238; its release of February 2024",
    stages: { pretrain: chatPretraining, finetune: chatTuning },
  }),
  chat({
    language: "internlm2",
    name: "internvl-chat-1.5",
    summary:
      "InternVL-Chat 1.5: up to 12 tiles of 448 pixels through InternViT-6B, four patches a token, to InternLM2-20B",
    config: chat15,
    source: "Chen et al. 2024, arXiv:2404.16821",
    stages: { pretrain: tiledPretraining, finetune: tiledTuning },
  }),
] as const;

/** All models of the family. */
export const internvlChatFamily: readonly Model[] = [
  ...tiledChatModels.map(listed),
  ...groupedLanguageModels.map(listed),
];
