/**
 * Special tokens of generated texts, by the names of transformers' `GenerationConfig`: a checkpoint's
 * generation_config.json overrides those of a model's record field by field.
 */

/** Which tokens generation may choose. */
export interface TokenRules {
  /** The first new token, if one token precedes it: `forced_bos_token_id`. */
  readonly forcedBos?: number;
  /** The last token of a text that reaches its maximum length, one of these: `forced_eos_token_id`. */
  readonly forcedEos?: readonly number[];
  /** Tokens that are never generated: `suppress_tokens`. */
  readonly suppress?: readonly number[];
  /** Tokens that no text begins with, after a forced first one: `begin_suppress_tokens`. */
  readonly beginSuppress?: readonly number[];
  /**
   * Sequences of tokens that are never generated: `bad_words_ids`. Those that are an end token alone are not barred.
   */
  readonly badWords?: readonly (readonly number[])[];
  /** No sequence of this many tokens, those of the prompt included, comes twice: `no_repeat_ngram_size`. */
  readonly noRepeatNgram?: number;
  /** No sequence of this many tokens of the source text comes in the new one: `encoder_no_repeat_ngram_size`. */
  readonly noSourceNgram?: number;
  /**
   * Divides positive scores of tokens that the prompt or the new text has, and multiplies negative ones:
   * `repetition_penalty`; above 1 disfavours them. The scores are logits, or, in a beam search, log-probabilities.
   */
  readonly repetitionPenalty?: number;
  /** Multiplies positive scores of the source's tokens, and divides negative ones: `encoder_repetition_penalty`. */
  readonly sourcePenalty?: number;
}

/** Where a text begins and ends, and which tokens it may have. */
export interface TextTokens extends TokenRules {
  /** The first token of a decoder that attends to an encoder: `decoder_start_token_id`. Default the tokenizer's BOS. */
  readonly decoderStart?: number;
  /** Ids that end a text: `eos_token_id`. Default the tokenizer's EOS. */
  readonly eos?: readonly number[];
}
