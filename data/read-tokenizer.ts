/** Reads tokenizers from files. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { FileError } from "../compiler/index.ts";
import { isRecord, readJson } from "./files.ts";
import { type SpecialTokens, type Tokenizer, tokenizerFrom } from "./text.ts";

/**
 * Reads a Hugging Face `tokenizer.json`, with the `tokenizer_config.json` beside it if there is one.
 * BOS and EOS always surround the text, as contrastive training requires, whatever the file's own template adds.
 * Without a pad token, the unknown token is used (LLaMA's id 0). FileError when the file is missing or malformed; a
 * missing special token is an error only when it is used.
 */
export async function readTokenizer(path: string, special: SpecialTokens = {}): Promise<Tokenizer> {
  const model = await readJson(path, "tokenizer");
  const configPath = join(dirname(path), "tokenizer_config.json");
  const config = existsSync(configPath) ? await readJson(configPath, "tokenizer configuration") : {};
  if (!isRecord(model) || !isRecord(model.model) || !isRecord(config)) {
    throw new FileError(`tokenizer "${path}" is not a tokenizer.json: it has no "model"`);
  }
  return tokenizerFrom(path, model, config, special);
}
