/** Text generation token by token: greedy, by beam search, or by sampling. */
import { UsageError } from "../../compiler/index.ts";
import type { TokenRules } from "../../dsl/index.ts";
import { type RandomStream, randomStream } from "../random/streams.ts";
import { type BeamSearch, Beams, candidateCount } from "./beam-search.ts";
import type { DecodeSession, Scores } from "./decode-session.ts";
import { allRanked, type RankedRow, rankedCandidates, tokenAt } from "./ranked-rows.ts";
import { checkSampling, drawn, keptProbabilities, type Sampling } from "./sampling.ts";
import { argmax, type ScoreKind } from "./scores.ts";
import { type Allowed, allowedNext, checkRules, mostBarred } from "./token-rules.ts";

/** Generation of the most probable token at each step. */
export interface Greedy {
  readonly kind: "greedy";
}

/** How tokens are chosen: greedily, by sampling, or by beam search. */
export type Strategy = Greedy | Sampling | BeamSearch;

/** How tokens are chosen, and how many are generated. */
export interface WritingLimits {
  readonly strategy: Strategy;
  /** Forced and suppressed tokens, and penalties; default none. */
  readonly rules?: TokenRules;
  /** The end token counts as a new token. */
  readonly maxNewTokens: number;
  /** No end token before this many new ones; default 0. */
  readonly minNewTokens?: number;
}

export interface GenerateOptions extends WritingLimits {
  /** Tokens that end a text. */
  readonly eos: readonly number[];
  /**
   * Called for every token as it is generated. Beam search does not call it, since a beam's tokens may still change.
   */
  readonly onToken?: (row: number, token: number) => void;
  /** Stops generation, keeping the tokens so far. */
  readonly signal?: AbortSignal;
}

/** What precedes the new tokens: one prompt for each text, or the scores that follow what the session already holds. */
export type Prompt =
  | {
      readonly ids: readonly (readonly number[])[];
      /** The source that each text's decoder attends to, as far as rules depend on it; default the prompt. */
      readonly source?: readonly (readonly number[])[];
    }
  | {
      /** [row, vocabulary] flat, one row for each of the session's. */
      readonly scores: Scores;
      /** What the session holds of each text, as far as rules depend on it; default nothing. */
      readonly held?: readonly (readonly number[])[];
      readonly source?: readonly (readonly number[])[];
    };

export interface Generated {
  /** New tokens, the end token included. */
  readonly tokens: readonly number[];
  readonly ended: "eos" | "length" | "stopped";
}

/** The result of a generation stopped before its first token. */
export const nothingWritten: Generated = { tokens: [], ended: "stopped" };

/**
 * Generates one text for each prompt. The session has one row per text, or, for beam search, one per beam of each text.
 * Throws UsageError for options out of range, and when the scores are not numbers.
 */
export async function generate(session: DecodeSession, prompt: Prompt, options: GenerateOptions): Promise<Generated[]> {
  checkGenerateOptions(options);
  const { strategy } = options;
  const beams = strategy.kind === "beam" ? strategy.beams : 1;
  if (session.rows % beams !== 0)
    throw new UsageError(`the session's ${session.rows} rows are not divisible by ${beams} beams`);
  if (options.signal?.aborted) return Array.from({ length: session.rows / beams }, () => nothingWritten);
  const scores = "scores" in prompt ? prompt.scores : await readPrompts(session, prompt.ids, beams);
  const held = "scores" in prompt ? (prompt.held ?? []) : prompt.ids;
  const allowed: Allowing = (texts) =>
    texts.map((tokens, row) => {
      const text = Math.floor(row / beams);
      const source = prompt.source?.[text];
      return allowedNext(options, { prompt: held[text] ?? [], ...(source && { source }) }, tokens);
    });
  if (strategy.kind === "beam") return await searchBeams(session, scores, options, strategy, allowed);
  return await writeRows(session, scores, options, picker(strategy), allowed);
}

async function readPrompts(session: DecodeSession, ids: readonly (readonly number[])[], beams: number) {
  if (ids.length * beams !== session.rows)
    throw new UsageError(
      `${ids.length} prompts with ${beams} beams need ${ids.length * beams} rows, but the session has ${session.rows}`,
    );
  if (ids.some((row) => row.length === 0)) throw new UsageError("a prompt needs at least one token");
  const beyond = ids.flat().find((id) => !(Number.isInteger(id) && id >= 0 && id < session.vocabulary));
  if (beyond !== undefined)
    throw new UsageError(
      `the prompt has token id ${beyond}, but the model's vocabulary has ${session.vocabulary} tokens (ids from 0): the tokenizer belongs to another model`,
    );
  return await session.step(ids.flatMap((row) => Array.from({ length: beams }, () => row)));
}

const mostBeams = 1000; // each has a cache of its own

/** Throws UsageError for options out of range; needs no model. */
export function checkGenerateOptions({ strategy, maxNewTokens, minNewTokens = 0, rules = {} }: WritingLimits): void {
  if (!(Number.isInteger(maxNewTokens) && maxNewTokens >= 1))
    throw new UsageError(`the maximum number of new tokens must be an integer of at least 1, got ${maxNewTokens}`);
  if (!(Number.isInteger(minNewTokens) && minNewTokens >= 0 && minNewTokens <= maxNewTokens))
    throw new UsageError(
      `the minimum number of new tokens must be an integer from 0 to ${maxNewTokens}, got ${minNewTokens}`,
    );
  checkRules(rules);
  if (strategy.kind === "sample") checkSampling(strategy);
  if (strategy.kind !== "beam") return;
  const { beams, lengthPenalty = 1 } = strategy;
  if (!(Number.isInteger(beams) && beams >= 1 && beams <= mostBeams))
    throw new UsageError(`the number of beams must be an integer from 1 to ${mostBeams}, got ${beams}`);
  if (!Number.isFinite(lengthPenalty))
    throw new UsageError(`the length penalty must be a finite number, got ${lengthPenalty}`);
}

/** What may follow the new tokens of each row. */
type Allowing = (texts: readonly (readonly number[])[]) => readonly Allowed[];

/** Above this, extracting candidates one by one takes longer than reading back all scores. */
const mostCandidates = 64;

/**
 * How many of the likeliest tokens suffice to choose from, plus those that may be barred; undefined when all scores are
 * needed, or the session cannot rank.
 */
function candidatesWanted(session: DecodeSession, options: GenerateOptions) {
  const { strategy, eos } = options;
  const barred = mostBarred(options);
  if (!session.rank || barred === undefined) return undefined;
  const wanted =
    strategy.kind === "greedy"
      ? 1
      : strategy.kind === "beam"
        ? candidateCount(strategy, new Set(eos).size)
        : (strategy.topK ?? Infinity);
  return wanted + barred <= Math.min(mostCandidates, session.vocabulary) ? wanted + barred : undefined;
}

/** A beam search adds up log-probabilities; rules apply to logits otherwise. */
const kindOf = ({ kind }: Strategy): ScoreKind => (kind === "beam" ? "log-probabilities" : "logits");

/** Appends one token to each row and returns the candidates for the next that are allowed. */
type Step = (
  tokens: readonly number[],
  allowed: readonly Allowed[],
  parents?: readonly number[],
) => Promise<RankedRow[]>;

/**
 * Steps of a session. When the likeliest tokens suffice, only they are read back, and beams are reordered in the same
 * run.
 */
function stepper(session: DecodeSession, options: GenerateOptions): Step {
  const count = candidatesWanted(session, options);
  if (count !== undefined)
    return async (tokens, allowed, parents) =>
      rankedCandidates(await session.rank!(tokens, count, parents), allowed, session.vocabulary);
  return async (tokens, allowed, parents) => {
    if (parents) await session.reorder(parents);
    return allRanked(await session.step(tokens.map((t) => [t])), session.rows, allowed, kindOf(options.strategy));
  };
}

/** Chooses a token from a row's candidates. */
type Pick = (ranked: RankedRow, row: number, step: number) => number;

function picker(strategy: Greedy | Sampling): Pick {
  if (strategy.kind === "greedy") return (ranked) => tokenAt(ranked, argmax(ranked.scores));
  const stream: RandomStream = randomStream(strategy.seed, "generate");
  return (ranked, row, step) =>
    tokenAt(ranked, drawn(keptProbabilities(ranked.scores, strategy), stream.uniform(row, step)));
}

async function writeRows(
  session: DecodeSession,
  first: Scores,
  options: GenerateOptions,
  pick: Pick,
  allowed: Allowing,
): Promise<Generated[]> {
  const { eos, maxNewTokens, onToken, signal } = options;
  const texts = Array.from({ length: session.rows }, (): number[] => []);
  const ends = (text: readonly number[]) => text.length > 0 && eos.includes(text.at(-1)!);
  const next = stepper(session, options);
  let ranked = allRanked(first, session.rows, allowed(texts), "logits");
  let unfinished: Generated["ended"] = "length";
  for (let step = 0; ; step++) {
    for (const [row, text] of texts.entries()) {
      if (ends(text)) continue;
      text.push(pick(ranked[row]!, row, step));
      onToken?.(row, text.at(-1)!);
    }
    if (step + 1 === maxNewTokens || texts.every(ends)) break;
    if (signal?.aborted) {
      unfinished = "stopped";
      break;
    }
    // A row that has ended is fed its last token again; the result is ignored.
    ranked = await next(
      texts.map((text) => text.at(-1)!),
      allowed(texts),
    );
  }
  return texts.map((tokens) => ({ tokens, ended: ends(tokens) ? "eos" : unfinished }));
}

async function searchBeams(
  session: DecodeSession,
  first: Scores,
  options: GenerateOptions,
  search: BeamSearch,
  allowed: Allowing,
): Promise<Generated[]> {
  const { eos, maxNewTokens, signal } = options;
  const { beams } = search;
  const prompts = Array.from({ length: session.rows / beams }, () => new Beams(search, maxNewTokens, eos));
  const next = stepper(session, options);
  const open = () => prompts.flatMap((p) => p.open.map(({ tokens }) => tokens));
  let ranked = allRanked(first, session.rows, allowed(open()), "log-probabilities");
  for (;;) {
    const parents = prompts.flatMap((prompt, i) => {
      if (prompt.settled) return prompt.open.map((_, beam) => i * beams + beam);
      return prompt.advance(ranked.slice(i * beams, (i + 1) * beams)).map((parent) => i * beams + parent);
    });
    if (prompts.every((p) => p.settled) || signal?.aborted) break;
    const isMoved = parents.some((parent, row) => parent !== row);
    const texts = open();
    ranked = await next(
      texts.map((text) => text.at(-1)!),
      allowed(texts),
      isMoved ? parents : undefined,
    );
  }
  return prompts.map((prompt) => bestOf(prompt, eos));
}

/** The best finished text, or the best open one if the search was stopped before any finished. */
function bestOf({ finished, open }: Beams, eos: readonly number[]): Generated {
  const best = finished.find((f) => f.done);
  if (!best) return { tokens: open[0]!.tokens, ended: "stopped" };
  return { tokens: best.tokens, ended: eos.includes(best.tokens.at(-1)!) ? "eos" : "length" };
}
