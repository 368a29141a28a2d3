/** Chat templates of InternVL-Chat's language models. */
import type { ChatTemplate, Piece } from "../../dsl/index.ts";
import { type TextConfig, variantOf } from "./llama.ts";

const bos: Piece = { special: "bos" };
const eos: Piece = { special: "eos" };

/** FastChat's system prompt of Vicuna v1.1. */
const vicunaSystem =
  "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions.";

/** `vicuna_v1` of LLaVA, conversation.py: an answer ends in </s>, and the next turn follows without a space. */
export const vicunaTemplate: ChatTemplate = {
  name: "vicuna",
  system: `${vicunaSystem} `,
  before: "USER: ",
  after: " ASSISTANT:",
  gap: " ",
  end: [eos],
  begin: [],
  stops: [],
  limit: 4096,
};

/** InternLM-Chat, modeling_internlm.py: no system text, every turn begins with <s>. 103028 is <eoa>. */
export const internlmTemplate: ChatTemplate = {
  name: "internlm",
  system: "",
  before: "<|User|>:",
  after: "<eoh>\n<|Bot|>:",
  end: ["<eoa>\n"],
  begin: [bos],
  stops: [1, 103028],
  limit: 2048,
};

/** No fixed text: the question, a space, the answer. For small models. */
export const bareTemplate: ChatTemplate = {
  name: "bare",
  system: "",
  before: "",
  after: "",
  gap: " ",
  end: [eos],
  begin: [],
  stops: [],
  limit: 4096,
};

/** `plain` of LLaVA, for training the MLP alone: the image, its caption, a newline. */
export const plainTemplate: ChatTemplate = {
  name: "plain",
  system: "",
  before: "",
  after: "",
  end: ["\n"],
  begin: [],
  stops: [],
  limit: 2048,
  answersOnly: true,
};

/** The templates for inference. */
const chatTemplates: readonly ChatTemplate[] = [vicunaTemplate, internlmTemplate, bareTemplate];

/** The templates for inference, with the default first. */
export const templatesFrom = (first: ChatTemplate): readonly ChatTemplate[] => [
  first,
  ...chatTemplates.filter((t) => t !== first),
];

/** Templates for a language model: each with the text limit of its checkpoint, where that gives one. */
export const limitedBy = (text: TextConfig, templates: readonly ChatTemplate[]): readonly ChatTemplate[] =>
  templates.map((template) => ({ ...template, limit: textLimit(text, template) }));

/** Maximum tokens of a text: the checkpoint's, else those of the prompt format. */
export const textLimit = (text: TextConfig, { limit }: ChatTemplate): number => variantOf(text).maxPositions ?? limit;

/** The templates for training. */
export const trainingTemplates: readonly ChatTemplate[] = [...chatTemplates, plainTemplate];
