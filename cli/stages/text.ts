/** The tokenizer of a training run: given, beside its initial weights, or bytes. */
import { existsSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UsageError } from "../../compiler/index.ts";
import { byteTokenizer, readTokenizer, withTokens } from "../../data/index.ts";
import type { TextCodec } from "../../dsl/index.ts";
import { folderOf, isFolder } from "../checkpoint.ts";
import { isRunOnBytes } from "../run-on-bytes.ts";

const fileName = "tokenizer.json";

/** The tokenizer.json at a path, or in a folder. */
const fileOf = (path: string): string => (isFolder(path) ? join(path, fileName) : path);

/** The tokenizer beside the first source that has one, "bytes" if it is a run's on bytes; empty if there is none. */
export async function tokenizerBeside(sources: readonly string[]): Promise<string> {
  for (const source of sources) {
    const path = join(folderOf(source), fileName);
    if (existsSync(path)) return path;
    if (await isRunOnBytes(source)) return "bytes";
  }
  return "";
}

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
