/** The special tokens of a model's generated texts: from its record, its checkpoint and its tokenizer. */
import type { Tokenizer } from "../../data/index.ts";
import type { Config, TextTokens, TokenRules, WritingGraphs } from "../../dsl/index.ts";

export interface TextPolicy {
  /** The first token of a decoder that attends to a source. FileError if nothing names one. */
  start(): number;
  /** Ids that end a text. */
  readonly eos: readonly number[];
  readonly rules: TokenRules;
}

/** Special tokens by, in this order of precedence, the checkpoint, the record of a mode, and the tokenizer. */
export function textPolicy(
  tokenizer: Tokenizer,
  { tokens: declared }: Pick<WritingGraphs<Config>, "tokens">,
  config: Config,
  stored: TextTokens = {},
): TextPolicy {
  const ofRecord = typeof declared === "function" ? declared(config) : declared;
  const { decoderStart, eos, ...rules } = { ...ofRecord, ...stored };
  return { start: () => decoderStart ?? tokenizer.bos, eos: eos ?? [tokenizer.eos], rules };
}
