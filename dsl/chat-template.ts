/** How conversations are written for a language model: what a template says, and what writing by it gives. */

/** A text, or a special token of the tokenizer. */
export type Piece = string | { readonly special: "bos" | "eos" };

/** How the turns of a conversation are written as tokens: what stands before, between and after them. */
export interface ChatTemplate {
  readonly name: string;
  /** Stands before everything, once. */
  readonly system: string;
  /** What stands around the text of a turn of the system that takes that place; default nothing, and a blank. */
  readonly systemAround?: readonly [before: string, after: string];
  /** Whether BOS stands before everything; default it does. */
  readonly bos?: boolean;
  /** What stands around a picture's tokens; default nothing. A line break follows, and the question. */
  readonly aroundImage?: readonly [before: string, after: string];
  /** Around a question. */
  readonly before: string;
  readonly after: string;
  /** Between that and an answer, in the texts that a model learns from; when it answers, it writes this itself. Default nothing. */
  readonly gap?: string;
  /** What ends an answer. */
  readonly end: readonly Piece[];
  /** What begins a turn. */
  readonly begin: readonly Piece[];
  /** Ids that end an answer, besides the tokenizer's EOS. */
  readonly stops: readonly number[];
  /** The most tokens that the model was trained with. */
  readonly limit: number;
  /** Questions are left out, and the picture alone is answered: for training a projector. */
  readonly answersOnly?: boolean;
}

/** The image's tokens in a first question: an id, as often as the image has tokens. */
export interface ImagePlace {
  readonly id: number;
  readonly tokens: number;
}

/** A conversation to learn from. */
export interface WrittenConversation {
  readonly ids: readonly number[];
  /** The ids that are answers, their ends included; -100 in all other places. */
  readonly labels: readonly number[];
}
