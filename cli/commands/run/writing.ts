/** Decoding options, which captions and chats share. */
import type { Command } from "commander";
import { UsageError } from "../../../compiler/index.ts";
import type { TokenRules } from "../../../dsl/index.ts";
import { checkGenerateOptions, type Strategy, type WritingLimits } from "../../../runtime/index.ts";
import { anyNumber } from "../../options/values.ts";

export interface WritingOptions {
  readonly greedy?: boolean;
  readonly beams?: number;
  readonly lengthPenalty?: number;
  readonly sample?: boolean;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly minTokens?: number;
  readonly maxTokens?: number;
  readonly repetitionPenalty?: number;
  readonly noRepeatNgram?: number;
}

/** Adds the flags of all modes that generate text. */
export const writingFlags = (command: Command): Command =>
  command
    .option("--sample", "sample tokens, as the checkpoint's generation_config.json says", false)
    .option("--temperature <x>", "sample tokens with this temperature", anyNumber)
    .option("--top-k <n>", "sample from the n most likely tokens", anyNumber)
    .option("--top-p <x>", "sample from the most likely tokens that together have this probability", anyNumber)
    .option("--min-p <x>", "sample from the tokens at least this part as likely as the likeliest", anyNumber)
    .option("--seed <n>", "seed of sampling (0)", anyNumber)
    .option("--repetition-penalty <x>", "divide the scores of tokens that the text already has by this (1)", anyNumber)
    .option("--no-repeat-ngram <n>", "write no sequence of n tokens twice (0: any)", anyNumber)
    .option("--min-tokens <n>", "minimum number of new tokens", anyNumber)
    .option("--max-tokens <n>", "maximum number of new tokens", anyNumber);

/** Adds the flags of beam search, for modes that do not stream. */
export const searchFlags = (command: Command): Command =>
  command
    .option("--greedy", "take the most likely token each time", false)
    .option("--beams <n>", "number of beams of a beam search", anyNumber)
    .option("--length-penalty <x>", "divide a beam's score by its length to this power (1)", anyNumber);

const drawing = ["temperature", "topK", "topP", "minP", "seed"] as const;
const searching = ["beams", "lengthPenalty"] as const;

/**
 * The decoding settings of the flags, where `completed` gives a strategy the settings that they leave out. Throws
 * UsageError for conflicting strategies and for values out of range.
 */
export function writingOf(
  options: WritingOptions,
  otherwise: WritingLimits,
  completed: (strategy: Strategy) => Strategy = (strategy) => strategy,
): WritingLimits {
  const maxNewTokens = options.maxTokens ?? otherwise.maxNewTokens;
  const minNewTokens = options.minTokens ?? Math.min(otherwise.minNewTokens ?? 0, maxNewTokens);
  const strategy = completed(strategyOf(options, otherwise.strategy));
  const rules = rulesOf(options, otherwise.rules);
  const writing = { ...otherwise, rules, strategy, minNewTokens, maxNewTokens };
  checkGenerateOptions(writing);
  return writing;
}

/** The rules with those of the flags. */
function rulesOf({ repetitionPenalty, noRepeatNgram }: WritingOptions, otherwise: TokenRules = {}): TokenRules {
  const { noRepeatNgram: stored, ...others } = otherwise;
  const size = noRepeatNgram ?? stored;
  return {
    ...others,
    ...(repetitionPenalty !== undefined && { repetitionPenalty }),
    ...(size !== undefined && size !== 0 && { noRepeatNgram: size }),
  };
}

function strategyOf(options: WritingOptions, otherwise: Strategy): Strategy {
  const given = (names: readonly (keyof WritingOptions)[]) => names.some((name) => options[name] !== undefined);
  const samples = options.sample === true || given(drawing);
  const asked = [samples, given(searching), options.greedy === true].filter(Boolean).length;
  if (asked > 1)
    throw new UsageError(
      "choose one way of decoding: --greedy, --beams, or sampling (--sample, --temperature, --top-k, --top-p, --min-p, --seed)",
    );
  if (options.greedy) return { kind: "greedy" };
  if (samples) return { kind: "sample", ...picked(options, drawing), seed: options.seed ?? 0 };
  if (!given(searching)) return otherwise;
  const usual = otherwise.kind === "beam" ? otherwise : { kind: "beam" as const, beams: 1 };
  return { ...usual, ...picked(options, searching) };
}

/** The options that are defined. */
const picked = <K extends keyof WritingOptions>(
  options: WritingOptions,
  names: readonly K[],
): Pick<WritingOptions, K> =>
  Object.fromEntries(names.filter((n) => options[n] !== undefined).map((n) => [n, options[n]])) as Pick<
    WritingOptions,
    K
  >;

/** Session rows for one text. */
export const rowsOf = (strategy: Strategy): number => (strategy.kind === "beam" ? strategy.beams : 1);

/** A model's text without terminal control characters. */
export const printable = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}]/gu, (c) => (/[\n\t\u200c\u200d]/.test(c) ? c : ""));
