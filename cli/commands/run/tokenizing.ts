/** The tokenizer of a command, and texts as contrastive models take them. */
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { boundsOf, type Graph, type HostTensor, isParameter, UsageError } from "../../../compiler/index.ts";
import { byteTokenizer, readTokenizer, type Tokenizer, tokenBatch, withTokens } from "../../../data/index.ts";
import { isRunOnBytes } from "../../run-on-bytes.ts";
import { feedNamed } from "./feeds.ts";
import { say } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";

export interface OpenedTokenizer extends Tokenizer {
  /** True for the byte tokenizer, which has no conventions of its own. */
  readonly bytes: boolean;
}

/**
 * The requested tokenizer ("bytes" or a tokenizer.json), else the tokenizer.json beside the weights, else bytes if the
 * model's vocabulary is that of bytes, or the weights are a run's that was trained on them. Padding is id 0, which
 * models ignore.
 */
export async function openTokenizer(graph: Graph, options: RunOptions): Promise<OpenedTokenizer> {
  const vocabulary = vocabularyOf(graph);
  const tokenizer = withTokens(await chosen(options, vocabulary), { pad: 0 });
  if (vocabulary !== undefined && tokenizer.vocabularySize > vocabulary) {
    throw new UsageError(
      `the tokenizer has ${tokenizer.vocabularySize} ids, but the model has ${vocabulary}: give the model's own tokenizer with --tokenizer`,
    );
  }
  // Tables are often padded by a few rows; a gap this large means another model's tokenizer, or a larger model.
  if (vocabulary !== undefined && tokenizer.vocabularySize < 0.9 * vocabulary)
    say(
      `note: the tokenizer has ${tokenizer.vocabularySize} ids, but the model has ${vocabulary}: is it the model's own?`,
    );
  return tokenizer;
}

async function chosen({ tokenizer, weights }: RunOptions, vocabulary: number | undefined): Promise<OpenedTokenizer> {
  const bytes = { ...byteTokenizer, bytes: true };
  if (tokenizer === "bytes") return bytes;
  const path = tokenizer ?? beside(weights);
  if (existsSync(path) || tokenizer !== undefined) return withTokens(await readTokenizer(path), { bytes: false });
  if (vocabulary === byteTokenizer.vocabularySize || (await isRunOnBytes(weights))) return bytes;
  throw new UsageError(`no such tokenizer: "${path}"; give --tokenizer tokenizer.json, or --tokenizer bytes`);
}

const beside = (weights: string): string =>
  join(existsSync(weights) && statSync(weights).isDirectory() ? weights : dirname(weights), "tokenizer.json");

/** The vocabulary size of a graph's embedding table. */
function vocabularyOf(graph: Graph): number | undefined {
  const axes = graph.inputs.filter(isParameter).flatMap((n) => n.type.axes);
  const size = axes.find((a) => a.name === "vocab")?.size;
  return typeof size === "number" ? size : undefined;
}

/** Ids of a text if the model leaves the number symbolic. InternVL, released code: 80. */
const openLength = 80;

/** The number of ids that a graph's input "ids" takes for a text, and the sizes that bind it. */
export function textLength(graph: Graph): {
  readonly tokens: number;
  readonly sizes: Readonly<Record<string, number>>;
} {
  const size = feedNamed(graph, "ids").type.axes.find((a) => a.name === "token")?.size;
  if (typeof size === "number" || size === undefined) return { tokens: size ?? 1, sizes: {} };
  const tokens = Math.min(openLength, boundsOf(size).max);
  return { tokens, sizes: { [String(size)]: tokens } };
}

/** Tokenizes texts batch by batch. */
export const textFeeds =
  (texts: readonly string[], tokenizer: Tokenizer, tokens: number) =>
  async (rows: readonly number[]): Promise<{ readonly ids: HostTensor }> => ({
    ids: tokenBatch(
      tokenizer,
      rows.map((row) => texts[row]!),
      tokens,
    ).ids,
  });
