/** The special tokens of a model's generated texts: from its record, its checkpoint and its tokenizer. */
import { FileError } from "../../compiler/index.ts";
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
  return { start: () => decoderStart ?? bosAsStart(tokenizer), eos: eos ?? [tokenizer.eos], rules };
}

function bosAsStart(tokenizer: Tokenizer): number {
  try {
    return tokenizer.bos;
  } catch (cause) {
    throw new FileError(
      `the decoder's start token is not known: the checkpoint's generation_config.json and config.json have neither decoder_start_token_id nor bos_token_id, the model's record has no tokens.decoderStart, and there is no BOS (${cause instanceof Error ? cause.message : cause})`,
      { cause },
    );
  }
}
