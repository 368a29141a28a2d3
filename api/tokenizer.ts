/** Tokenizers, from wherever their files lie. */
import { FileError } from "../compiler/index.ts";
import { type SpecialTokens, type Tokenizer, tokenizerFrom } from "../data/browser-index.ts";
import { type OptionTable, requireOptions } from "./options.ts";
import { type Source, sourceKind, wholeOf } from "./sources.ts";

/** What says more of a tokenizer than its tokenizer.json. */
export interface TokenizerOptions {
  /** The tokenizer_config.json that belongs to it, which names its special tokens. */
  readonly config?: Source;
  /** Special tokens by their text, where no file names them. */
  readonly special?: SpecialTokens;
}

const tokenizerOptions: OptionTable<TokenizerOptions> = {
  config: sourceKind,
  special: { is: (value) => typeof value === "object" && value !== null, needed: 'an object such as { eos: "</s>" }' },
};

/** A vocabulary of a million tokens takes some 50 MB. */
const mostBytes = 2 ** 28;

/**
 * A Hugging Face tokenizer.json. Its special tokens are those that it or its configuration names; one that is named nowhere
 * throws FileError where it is asked for. Throws FileError for a file that is missing or malformed.
 */
export async function tokenizer(source: Source, options: TokenizerOptions = {}): Promise<Tokenizer> {
  requireOptions("tokenizer", options, tokenizerOptions);
  const { config, special } = options;
  const name = typeof source === "string" || source instanceof URL ? String(source) : "the tokenizer";
  const model = await json(source, name);
  const settings = config === undefined ? {} : await json(config, `the configuration of ${name}`);
  return tokenizerFrom(name, model, settings, special);
}

async function json(source: Source, name: string): Promise<object> {
  const bytes = await wholeOf(source, mostBytes);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new FileError(`${name} is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new FileError(`${name} is not a JSON object`);
}
