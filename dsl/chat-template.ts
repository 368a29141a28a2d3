/** Chat templates: how conversations are written as tokens for a language model. */

/** A string, or a special token of the tokenizer. */
export type Piece = string | { readonly special: "bos" | "eos" };

/** How the turns of a conversation are written as tokens: what comes before, between and after them. */
export interface ChatTemplate {
  readonly name: string;
  /** The default system prompt, at the start. */
  readonly system: string;
  /** Around the text of a system turn, which replaces `system`; default nothing before and a space after. */
  readonly systemAround?: readonly [before: string, after: string];
  /** Whether BOS comes first; default true. */
  readonly bos?: boolean;
  /** Around an image's tokens; default nothing. A newline and the question follow. */
  readonly aroundImage?: readonly [before: string, after: string];
  /** Before and after a question. */
  readonly before: string;
  readonly after: string;
  /** Between question and answer in training texts; at inference the model generates it itself. Default nothing. */
  readonly gap?: string;
  /** What ends an answer. */
  readonly end: readonly Piece[];
  /** What begins a turn. */
  readonly begin: readonly Piece[];
  /** Ids that end an answer, besides the tokenizer's EOS. */
  readonly stops: readonly number[];
  /** Maximum tokens that the model was trained with. */
  readonly limit: number;
  /** Leaves questions out, so that answers follow the image alone: for training a projector. */
  readonly answersOnly?: boolean;
}

/** The image's placeholder in the first question: an id, repeated once for each image token. */
export interface ImagePlace {
  readonly id: number;
  readonly tokens: number;
}

/** A tokenized conversation for training. */
export interface WrittenConversation {
  readonly ids: readonly number[];
  /** The ids of answers, their end tokens included; -100 everywhere else. */
  readonly labels: readonly number[];
}
