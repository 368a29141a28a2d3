/** The tokenizer of a training run: asked for, beside the weights that it starts from, or bytes. */
import { existsSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UsageError } from "../../compiler/index.ts";
import { byteTokenizer, readTokenizer, withTokens } from "../../data/index.ts";
import type { TextCodec } from "../../dsl/index.ts";
import { isFolder } from "../checkpoint.ts";

const fileName = "tokenizer.json";

/** The tokenizer.json of a path to it or to its folder. */
const fileOf = (path: string): string => (isFolder(path) ? join(path, fileName) : path);

/** The first of the sources that has a tokenizer beside it; empty where none has. */
export const tokenizerBeside = (sources: readonly string[]): string =>
  sources.map((path) => join(isFolder(path) ? path : dirname(path), fileName)).find((path) => existsSync(path)) ?? "";

/**
 * The tokenizer of a path, "bytes", or where nothing is said bytes for a vocabulary that is theirs. Throws UsageError for
 * one that does not fit the model's vocabulary.
 */
export async function openText(path: string, vocabulary: number): Promise<TextCodec> {
  const codec = await codecOf(path, vocabulary);
  if (codec.vocabularySize > vocabulary)
    throw new UsageError(
      `the tokenizer ${path || "bytes"} has ${codec.vocabularySize} ids and the model ${vocabulary}: give the model's own with --tokenizer, or change the model's "vocab" with --set`,
    );
  return codec;
}

async function codecOf(path: string, vocabulary: number): Promise<TextCodec> {
  const bytes = { ...byteTokenizer, bytes: true };
  if (path === "bytes") return bytes;
  if (path !== "") return withTokens(await readTokenizer(fileOf(path)), { pad: 0 });
  if (vocabulary === byteTokenizer.vocabularySize) return bytes;
  throw new UsageError(
    "this stage reads texts: give --tokenizer with a tokenizer.json or its folder, or --tokenizer bytes",
  );
}

/** Puts the tokenizer into a run's folder, so that what starts from there finds it. */
export async function keepTokenizer(path: string, folder: string): Promise<void> {
  if (path === "" || path === "bytes") return;
  const file = fileOf(path);
  for (const name of [fileName, "tokenizer_config.json"]) {
    const from = name === fileName ? file : join(dirname(file), name);
    if (existsSync(from)) await copyFile(from, join(folder, name));
  }
}
