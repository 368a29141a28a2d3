/** How the turns of a conversation become the tokens that a language model was trained on. */
import type { Tokenizer } from "../../data/index.ts";

export interface ChatTemplate {
  readonly name: string;
  /** Stands before everything, once. */
  readonly system: string;
  /** Around a question. */
  readonly before: string;
  readonly after: string;
  /** What ends an answer. */
  readonly end: readonly Piece[];
  /** What begins a turn. */
  readonly begin: readonly Piece[];
  /** Ids that end an answer, besides the tokenizer's EOS. */
  readonly stops: readonly number[];
  /** The most tokens that the model was trained with. */
  readonly limit: number;
}

/** A text, or a special token of the tokenizer. */
type Piece = string | { readonly special: "bos" | "eos" };

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

export const chatTemplates: readonly ChatTemplate[] = [vicunaTemplate, internlmTemplate];

/** The image's tokens in a first question: an id, as often as the image has tokens. */
export interface ImagePlace {
  readonly id: number;
  readonly tokens: number;
}

/**
 * The ids of the first turn up to where the answer begins. An image stands before the question, on a line of its own; the
 * texts before and after it are tokenized apart, as LLaVA does.
 */
export function firstTurn(
  template: ChatTemplate,
  tokenizer: Tokenizer,
  question: string,
  image?: ImagePlace,
): number[] {
  const { system, before, after } = template;
  const text = (t: string) => idsOf(tokenizer, [t]);
  if (!image) return [tokenizer.bos, ...text(`${system}${before}${question}${after}`)];
  const place = Array.from({ length: image.tokens }, () => image.id);
  return [tokenizer.bos, ...text(system + before), ...place, ...text(`\n${question}${after}`)];
}

/** The ids between an answer and the next one: the end of the turn before, then the question. */
export function nextTurn(template: ChatTemplate, tokenizer: Tokenizer, question: string): number[] {
  const { end, begin, before, after } = template;
  return idsOf(tokenizer, [...end, ...begin, `${before}${question}${after}`]);
}

function idsOf(tokenizer: Tokenizer, pieces: readonly Piece[]): number[] {
  return pieces.flatMap((piece) =>
    typeof piece === "string" ? textIds(tokenizer, piece) : [tokenizer[piece.special]],
  );
}

/** The ids of a text without the BOS and EOS that tokenizers put around it. */
export const textIds = (tokenizer: Tokenizer, text: string): number[] =>
  tokenizer.encode(text, Number.MAX_SAFE_INTEGER).slice(1, -1);
