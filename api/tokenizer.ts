/** Tokenizers, from any source. */
import { type SpecialTokens, type Tokenizer, tokenizerFrom } from "../data/browser-index.ts";
import { type OptionTable, requireOptions } from "./options.ts";
import { jsonObject, locate, type Source, sourceKind } from "./sources.ts";

/** What a tokenizer.json leaves out. */
export interface TokenizerOptions {
  /** Its tokenizer_config.json, which names its special tokens. */
  readonly config?: Source;
  /** Special tokens as strings, if no file names them. */
  readonly special?: SpecialTokens;
}

const tokenizerOptions: OptionTable<TokenizerOptions> = {
  config: sourceKind,
  special: { is: (value) => typeof value === "object" && value !== null, needed: 'an object such as { eos: "</s>" }' },
};

/** A vocabulary of a million tokens takes some 50 MB. */
const mostBytes = 2 ** 28;

/**
 * Loads a Hugging Face tokenizer.json. Its special tokens are those that it or its configuration names; accessing one
 * that neither names throws FileError. Throws FileError for a file that is missing or malformed.
 */
export async function tokenizer(source: Source, options: TokenizerOptions = {}): Promise<Tokenizer> {
  requireOptions("tokenizer", options, tokenizerOptions);
  const { config, special } = options;
  const name = typeof source === "string" || source instanceof URL ? String(source) : "the tokenizer";
  const model = await jsonObject(await locate(source), name, mostBytes);
  const settings =
    config === undefined ? {} : await jsonObject(await locate(config), `the configuration of ${name}`, mostBytes);
  return tokenizerFrom(name, model, settings, special);
}
