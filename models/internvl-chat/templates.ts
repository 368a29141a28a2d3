/**
 * The templates of InternVL-Chat 1.2 and 1.5, both ChatML without newlines between turns: conversation.py of the
 * released code, with its current system prompt; the first releases had others (a checkpoint does not say which).
 */
import type { ChatTemplate } from "../../dsl/index.ts";

const system =
  "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。";

const chatMl: Omit<ChatTemplate, "name" | "stops" | "limit"> = {
  system: `<|im_start|>system\n${system}<|im_end|>`,
  systemAround: ["<|im_start|>system\n", "<|im_end|>"],
  before: "<|im_start|>user\n",
  after: "<|im_end|><|im_start|>assistant\n",
  end: ["<|im_end|>"],
  begin: [],
  aroundImage: ["<img>", "</img>"],
};

/** 92543 is <|im_start|>, 92542 <|im_end|>. */
export const internlm2Template: ChatTemplate = {
  ...chatMl,
  name: "internlm2-chat",
  stops: [2, 92543, 92542],
  limit: 32768,
};

/** Nous-Hermes-2-Yi: no BOS; 6, 7 and 8 are <|im_start|>, <|im_end|> and <|im_sep|>. */
export const hermesTemplate: ChatTemplate = {
  ...chatMl,
  name: "Hermes-2",
  bos: false,
  stops: [2, 6, 7, 8],
  limit: 4096,
};

export const tiledTemplates: readonly ChatTemplate[] = [internlm2Template, hermesTemplate];
