/** The templates of the language models that InternVL-Chat speaks through. */
import type { ChatTemplate, Piece } from "../../dsl/index.ts";

const bos: Piece = { special: "bos" };
const eos: Piece = { special: "eos" };

/** FastChat's text of Vicuna v1.1. */
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

/** No words of its own: the question, a blank, the answer. For small models. */
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

/** `plain` of LLaVA, which trains the MLP by itself: the picture, what is said of it, a line break. */
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

/** Those that a conversation can be had by. */
export const chatTemplates: readonly ChatTemplate[] = [vicunaTemplate, internlmTemplate, bareTemplate];

/** All that a conversation can be had by, one of them first. */
export const templatesFrom = (first: ChatTemplate): readonly ChatTemplate[] => [
  first,
  ...chatTemplates.filter((t) => t !== first),
];

/** Those that can be trained by. */
export const trainingTemplates: readonly ChatTemplate[] = [...chatTemplates, plainTemplate];
