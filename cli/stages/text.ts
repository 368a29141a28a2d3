/** The tokenizer of a training run: given, beside its initial weights, or bytes. */
import { existsSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UsageError } from "../../compiler/index.ts";
import { byteTokenizer, readTokenizer, withTokens } from "../../data/index.ts";
import type { TextCodec } from "../../dsl/index.ts";
import { isFolder } from "../checkpoint.ts";

const fileName = "tokenizer.json";

/** The tokenizer.json at a path, or in a folder. */
const fileOf = (path: string): string => (isFolder(path) ? join(path, fileName) : path);

/** The first source with a tokenizer beside it; empty if there is none. */
export const tokenizerBeside = (sources: readonly string[]): string =>
  sources.map((path) => join(isFolder(path) ? path : dirname(path), fileName)).find((path) => existsSync(path)) ?? "";

/**
 * The tokenizer of a path or "bytes"; default bytes if the vocabulary fits. Throws UsageError for one that does not fit
 * the model's vocabulary.
 */
export async function openText(path: string, vocabulary: number): Promise<TextCodec> {
  const codec = await codecOf(path, vocabulary);
  if (codec.vocabularySize > vocabulary)
    throw new UsageError(
      `the tokenizer ${path || "bytes"} has ${codec.vocabularySize} ids, but the model has ${vocabulary}: give the model's own with --tokenizer, or change the model's "vocab" with --set`,
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

/** Copies the tokenizer to a run's folder, for runs that start from it. */
export async function keepTokenizer(path: string, folder: string): Promise<void> {
  if (path === "" || path === "bytes") return;
  const file = fileOf(path);
  for (const name of [fileName, "tokenizer_config.json"]) {
    const from = name === fileName ? file : join(dirname(file), name);
    if (existsSync(from)) await copyFile(from, join(folder, name));
  }
}
