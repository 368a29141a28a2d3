/** Log-probabilities of a text's next token: of all tokens, or of the likeliest only. */
import { UsageError } from "../../compiler/index.ts";
import type { Candidates, Scores } from "./decode-session.ts";
import { bar, logProbabilities, rowOf } from "./scores.ts";
import type { Allowed } from "./token-rules.ts";

export interface RankedRow {
  /** In ascending order; absent when `scores` covers the whole vocabulary. */
  readonly tokens?: readonly number[];
  /** The log-probability of each; −∞ for barred tokens. */
  readonly scores: Float64Array;
}

export const tokenAt = ({ tokens }: RankedRow, place: number): number => tokens?.[place] ?? place;

/** All tokens of each row of scores; those that are not allowed get −∞, and forced ones 0. */
export function allRanked(scores: Scores, rows: number, allowed: readonly Allowed[]): RankedRow[] {
  const vocabulary = scores.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    const { barred, forced } = allowed[row]!;
    const own = logProbabilities(rowOf(scores, row, vocabulary), barred);
    return { scores: forced ? forcedScores(forced, barred, vocabulary) : own };
  });
}

function forcedScores(forced: readonly number[], barred: readonly number[], vocabulary: number): Float64Array {
  const scores = new Float64Array(vocabulary).fill(Number.NEGATIVE_INFINITY);
  for (const token of forced) if (token < vocabulary) scores[token] = 0;
  return bar(scores, barred);
}

/** The candidates of each row. Throws UsageError when the scores they were taken from are not numbers. */
export function rankedCandidates(
  { count, tokens, scores, totals }: Candidates,
  allowed: readonly Allowed[],
  vocabulary: number,
): RankedRow[] {
  return Array.from(totals, (total, row) => {
    const { barred, forced } = allowed[row]!;
    if (forced) return { scores: forcedScores(forced, barred, vocabulary) };
    if (!Number.isFinite(total))
      throw new UsageError(
        `the model gives a token the score ${total}: its weights diverged or belong to another model`,
      );
    const places = Array.from({ length: count }, (_, i) => row * count + i).sort((a, b) => tokens[a]! - tokens[b]!);
    const own = places.map((at) => tokens[at]!);
    const score = (at: number, i: number) =>
      barred.includes(own[i]!) ? Number.NEGATIVE_INFINITY : scores[at]! - total;
    return { tokens: own, scores: Float64Array.from(places, score) };
  });
}
