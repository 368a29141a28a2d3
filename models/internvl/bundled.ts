/** The published sizes of the family as models that commands know by name, each with its layout. */
import {
  axis,
  axisOf,
  type CaptionMode,
  type ChatTemplate,
  type CompareMode,
  type Config,
  defineModel,
  input,
  type Model,
  type SegmentMode,
  type StageRecipe,
  type TokenRun,
  transpose,
  under,
} from "../../dsl/index.ts";
import {
  type ChatConfig,
  type ChatQueriesConfig,
  chatConfig,
  chatQueriesConfig,
  conversation,
  imageToken,
  internlm7b,
  vicuna7b,
  vicuna13b,
  visualTokenCount,
} from "./chat.ts";
import { chatTemplates, internlmTemplate, vicunaTemplate } from "./chat-templates.ts";
import { features, listed, ofVision, paper, preprocessing, states } from "./common-records.ts";
import {
  type ContrastiveConfig,
  idsInput,
  imageEmbedding,
  internvlCConfig,
  logitScale,
  textEmbedding,
  visionTokens,
} from "./contrastive.ts";
import {
  captionPrefill,
  captionStep,
  chatPrefill,
  decodeStep,
  prefill,
  qllamaPrefill,
  qllamaStep,
} from "./decoding.ts";
import { type GenerativeConfig, imageEmbeddingG, internvlGConfig, matching } from "./generative.ts";
import { familyCheckpoints } from "./inheritance.ts";
import { internvit, internvit6b, pixelsInput, type VisionConfig, type VisionTokens } from "./internvit.ts";
import { onTexts } from "./language-stage.ts";
import { languageHead, llama, type TextConfig, textAxes } from "./llama.ts";
import {
  chatMacs,
  contrastiveMacs,
  decoderMacs,
  generativeMacs,
  probeMacs,
  qllamaMacs,
  segmentationMacs,
  visionMacs,
} from "./macs.ts";
import { probeTuning, segmentationTuning } from "./perception-stages.ts";
import { linearProbe, type ProbeConfig, probe } from "./probes.ts";
import { type QllamaConfig, qllama, qllama8b } from "./qllama.ts";
import { type SegmentationConfig, segment, segmentationLinear, segmentationUperNet } from "./segmentation.ts";
import {
  chatSettings,
  contrastiveSettings,
  generativeSettings,
  probeSettings,
  qllamaAloneSettings,
  segmentationSettings,
  visionSettings,
} from "./setting-rules.ts";
import { cleanCaption, contrastivePrefix } from "./stage-data.ts";
import { patchSteps, querySteps, retrievalTuning, stageOne, stageOneAlone, stageOneFull, stageTwo } from "./stages.ts";
import { wordCopies } from "./tied-words.ts";
import { tiny } from "./tiny.ts";
import {
  causalRules,
  chatRules,
  contrastiveRules,
  generativeRules,
  probeRules,
  segmentationRules,
  visionRules,
} from "./weights.ts";

const textSummary = "a prompt without a picture: scores of the next token, keys and values";
const stepSummary = "more tokens after those remembered: scores of the next ones, all keys and values";

const encoder = (name: string, summary: string, config: VisionConfig) =>
  defineModel<VisionConfig>({
    name,
    summary,
    config,
    configs: { tiny: tiny.encoder },
    rules: visionSettings,
    checkpoints: familyCheckpoints(name, visionRules, under("", "vision_model", visionRules)),
    paper: paper((c) => visionMacs(c)),
    preprocessing,
    modes: { features },
    build: (p, c) => ({ features: internvit(p, pixelsInput(c), c).at(-1)! }),
    graphs: { states: states("", (c) => c) },
  });

/** InternViT alone: the features of all tokens after the last block. */
export const internvitModels = [
  encoder("internvit-6b", "InternViT-6B: 48 blocks of width 3200, all tokens after the last block", internvit6b),
  encoder("internvit-6b-45", "InternViT-6B without its last three blocks, as the chat models read it", {
    ...internvit6b,
    depth: 45,
  }),
];

/** A language model by itself: the scores of the next token at every place. */
const languageModel = (name: string, title: string, config: TextConfig, template: ChatTemplate) =>
  defineModel<TextConfig>({
    name,
    summary: `${title}: scores of the next token`,
    config,
    configs: { tiny: tiny.language },
    checkpoints: { ...familyCheckpoints<TextConfig>(name, causalRules), copies: wordCopies },
    paper: paper((c) => decoderMacs(c, c.context, c.context)),
    modes: {
      generate: { step: "decode", limit: template.limit },
      chat: { step: "decode", templates: templatesFrom(template) },
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

/** All that a conversation can be had by, one of them first. */
const templatesFrom = (first: ChatTemplate): readonly ChatTemplate[] => [
  first,
  ...chatTemplates.filter((t) => t !== first),
];

/** The language models that InternVL-Chat speaks through. */
const languageModels = [
  languageModel("vicuna-7b", "Vicuna-7B, which is LLaMA-2", vicuna7b, vicunaTemplate),
  languageModel("vicuna-13b", "Vicuna-13B, which is LLaMA-2", vicuna13b, vicunaTemplate),
  languageModel("internlm-7b", "InternLM-7B, a LLaMA with biases in attention", internlm7b, internlmTemplate),
].map(onTexts);

/** QLLaMA on given features of an image. */
export interface QllamaModelConfig extends QllamaConfig {
  readonly visionWidth: number;
  /** Tokens of the image, the class token included. */
  readonly visionTokens: number;
}

const qllamaConfig: QllamaModelConfig = { ...qllama8b, visionWidth: internvit6b.width, visionTokens: 257 };

/** The image encoder whose features a QLLaMA on its own takes, for counting. */
const encoderOf = (c: QllamaModelConfig): VisionConfig => ({
  ...internvit6b,
  width: c.visionWidth,
  image: Math.sqrt(c.visionTokens - 1) * internvit6b.patch,
});

/** What InternViT says of an image: [batch, token, embed] */
const visionInput = (c: QllamaModelConfig): VisionTokens =>
  input("vision", "f32", [axis("batch", "batch"), axis("token", c.visionTokens), axis("embed", c.visionWidth)]);

const qllamaModel = defineModel<QllamaModelConfig>({
  name: "qllama-8b",
  summary: "QLLaMA: multilingual LLaMA-7B with 96 queries that attend to an image, as captions are written",
  config: qllamaConfig,
  configs: { tiny: tiny.qllama },
  rules: qllamaAloneSettings,
  checkpoints: familyCheckpoints("qllama-8b", generativeRules),
  paper: paper((c) => qllamaMacs(c, encoderOf(c), c.context, c.context)),
  build: (p, c) => {
    const a = textAxes(c);
    const { queries, text } = qllama(p, visionInput(c), idsInput(c), c, "generative");
    const logits = languageHead(p.scope("qllama"), text, a, c);
    return {
      queries: transpose(queries, [a.batch, a.token, a.embed]),
      logits: transpose(logits, [a.batch, a.token, a.vocab]),
    };
  },
  graphs: {
    prefill: {
      summary: "the queries and a prompt: scores of the next token, keys and values",
      build: (p, c) => qllamaPrefill(p, visionInput(c), c),
    },
    decode: { summary: stepSummary, build: qllamaStep },
  },
});

/** Texts as retrieval compares them: cleaned and with InternVL's prefix. */
const compare: CompareMode = { prefix: contrastivePrefix(), clean: cleanCaption };

/** Both towers: pixels and ids to unit vectors and the temperature. */
export const internvlC = defineModel<ContrastiveConfig>({
  name: "internvl-c",
  summary: "InternVL-C: InternViT-6B and multilingual LLaMA-7B, compared by cosine",
  config: internvlCConfig,
  configs: { tiny: tiny.contrastive },
  rules: contrastiveSettings,
  stages: { 1: stageOneAlone, "1.1": stageOne, "1.2": stageOneFull },
  checkpoints: familyCheckpoints("internvl-c", contrastiveRules),
  paper: paper(contrastiveMacs),
  preprocessing,
  modes: { features, compare },
  graphs: { states: states("vision_model", ofVision) },
  build: (p, c) => ({
    image: imageEmbedding(p, pixelsInput(c.vision), c),
    text: textEmbedding(p, idsInput(c.text), c),
    scale: logitScale(p),
  }),
});

/** The positions that QLLaMA has, for its queries, the prompt and what is written. */
const qllamaLimit = 2048;

/** How InternVL's captions are evaluated. Chen et al. 2023, released code evaluate_caption.py. */
const caption: CaptionMode<GenerativeConfig> = {
  begin: "prefill",
  step: "decode",
  limit: qllamaLimit,
  prompt: "English caption:",
  beams: 5,
  minTokens: 8,
  maxTokens: 30,
};

/** Everything that InternVL-14B does with an image: compare, match, write. */
export const internvlG = defineModel<GenerativeConfig>({
  name: "internvl-g",
  summary: "InternVL-G: images through InternViT-6B and QLLaMA, compared with texts, matched, and put into words",
  config: internvlGConfig,
  configs: { tiny: tiny.generative },
  rules: generativeSettings,
  stages: { 2: stageTwo, retrieval: retrievalTuning },
  checkpoints: familyCheckpoints("internvl-g", generativeRules),
  paper: paper(generativeMacs),
  preprocessing,
  modes: { features, compare, caption },
  build: (p, c) => {
    const [a, pixels] = [textAxes(c.text), pixelsInput(c.vision)];
    const vision = visionTokens(p, pixels, c);
    const written = qllama(p, vision, idsInput(c.text, "caption_ids"), c.text, "generative").text;
    const again = p.shared(); // both towers are one, whatever passes they make
    return {
      image: imageEmbeddingG(again, pixels, c),
      text: textEmbedding(again, idsInput(c.text), c),
      scale: logitScale(p),
      match: matching(again, vision, idsInput(c.text, "matching_ids"), c),
      logits: transpose(languageHead(p.scope("qllama"), written, a, c.text), [a.batch, a.token, a.vocab]),
    };
  },
  graphs: {
    prefill: {
      summary: "a picture and the prompt of its caption: scores of the next token, keys and values",
      build: captionPrefill,
    },
    decode: { summary: stepSummary, build: captionStep },
    states: states("vision_model", ofVision),
  },
});

type Stages<C extends Config> = NonNullable<Model<C>["stages"]>;

const imageRun = (c: ChatConfig): TokenRun => ({ id: imageToken, length: visualTokenCount(c) });

/** Path A by the language model, and path B. */
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
        chat: { begin: "prefill", step: "decode", templates: (c) => templatesFrom(templateOf(c.text)) },
        generate: { step: "decode", limit: (c) => templateOf(c.text).limit },
      },
      build: (p, c) => {
        const a = textAxes(c.text);
        const { last } = conversation(p, pixelsInput(c.vision), idsInput(c.text), c);
        return { logits: transpose(languageHead(p, last, a, c.text), [a.batch, a.token, a.vocab]) };
      },
      runs: (c) => ({ ids: imageRun(c) }),
      graphs: {
        prefill: {
          summary: "a prompt with a picture: scores of the next token, keys and values",
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

/** InternLM's template where attention has biases, as only InternLM's has, else Vicuna's. */
const templateOf = (text: TextConfig): ChatTemplate => (text.attentionBias ? internlmTemplate : vicunaTemplate);

const [glue, glueAndDecoder] = patchSteps as [StageRecipe<ChatConfig>, StageRecipe<ChatConfig>];

/** The stage of the table (the language model and the MLP), and its two steps. */
const patchStages: Stages<ChatConfig> = { 3: glueAndDecoder, "3.1": glue, "3.2": glueAndDecoder };

/** The stage of the table (the MLPs), and what may follow: the language model, or QLLaMA. */
const queryStages = Object.fromEntries(
  ["3", "3.1", "3.2", "3.3"].map((name, i) => [name, querySteps[Math.max(0, i - 1)]!]),
) as unknown as Stages<ChatQueriesConfig>;

const patches = (llm: string, title: string, text: TextConfig) =>
  chat(
    `internvl-chat-${llm}`,
    `InternVL-Chat: InternViT-6B's patches through an MLP to ${title}`,
    chatConfig(text),
    patchStages,
  );
const queries = (llm: string, title: string, text: TextConfig) =>
  chat(
    `internvl-chat-${llm}-qllama`,
    `InternVL-Chat: QLLaMA's queries and InternViT-6B's patches through an MLP each to ${title}`,
    chatQueriesConfig(text),
    queryStages,
  );

/** Perception: classes of a picture, and of its places. */
const probeModel = defineModel<ProbeConfig>({
  name: "internvit-6b-probe",
  summary: "InternViT-6B with a linear probe for 1000 classes; features=pooling for attention pooling",
  config: linearProbe,
  configs: { tiny: tiny.probe },
  rules: probeSettings,
  stages: { probe: probeTuning },
  checkpoints: familyCheckpoints("internvit-6b-probe", probeRules),
  paper: paper(probeMacs),
  preprocessing,
  modes: { features },
  graphs: { states: states("vision_model", ofVision) },
  build: (p, c) => ({ scores: probe(p, pixelsInput(c.vision), c).scores }),
});

/** ADE20K as it is evaluated: windows of 504 pixels, 322 apart; classes count from 1. Section 4.2 and the released configs. */
const segmentMode: SegmentMode<SegmentationConfig> = {
  output: "scores",
  stride: 322 / 504,
  multiple: ({ vision }) => vision.patch,
  firstClass: 1,
};

const segmenter = (name: string, summary: string, config: SegmentationConfig, stages: Stages<SegmentationConfig>) =>
  defineModel<SegmentationConfig>({
    name,
    summary,
    config,
    configs: { tiny: config.channels === 0 ? tiny.segmentation : tiny.uperNet },
    rules: segmentationSettings,
    stages,
    checkpoints: familyCheckpoints(name, segmentationRules),
    paper: paper(segmentationMacs),
    preprocessing,
    modes: { features, segment: segmentMode },
    graphs: { states: states("vision_model", ofVision) },
    build: (p, c) => {
      const { scores } = segment(p, pixelsInput(c.vision), c);
      const axes = ["batch", "class", "row", "column"] as const;
      return {
        scores: transpose(
          scores,
          axes.map((a) => axisOf(scores, a)),
        ),
      };
    },
  });

const segmenters = [
  segmenter(
    "internvit-6b-segmentation",
    "InternViT-6B's 45th block with a linear head for the 150 classes of ADE20K",
    segmentationLinear,
    {
      linear: (c, given) => segmentationTuning("linear", c, given),
      "few-shot": (c, given) => segmentationTuning("few-shot", c, given),
    },
  ),
  segmenter(
    "internvit-6b-upernet",
    "InternViT-6B's blocks 12, 24, 36 and 48 with UperNet for the 150 classes of ADE20K",
    segmentationUperNet,
    {
      head: (c, given) => segmentationTuning("head", c, given),
      full: (c, given) => segmentationTuning("full", c, given),
    },
  ),
];

/** All of the family. */
export const internvlFamily: readonly Model[] = [
  ...internvitModels.map(listed),
  listed(qllamaModel),
  listed(internvlC),
  listed(internvlG),
  patches("vicuna-7b", "Vicuna-7B", vicuna7b),
  queries("vicuna-7b", "Vicuna-7B", vicuna7b),
  patches("vicuna-13b", "Vicuna-13B", vicuna13b),
  queries("vicuna-13b", "Vicuna-13B", vicuna13b),
  patches("internlm-7b", "InternLM-7B", internlm7b),
  ...languageModels.map(listed),
  listed(probeModel),
  ...segmenters.map(listed),
];
