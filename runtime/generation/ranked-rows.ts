/** Scores of a text's next token, logits or log-probabilities: of all tokens, or of the likeliest only. */
import { UsageError } from "../../compiler/index.ts";
import type { Candidates, Scores } from "./decode-session.ts";
import { asScores, bar, penalize, rowOf, type ScoreKind } from "./scores.ts";
import type { Allowed } from "./token-rules.ts";

export interface RankedRow {
  /** In ascending order; absent when `scores` covers the whole vocabulary. */
  readonly tokens?: readonly number[];
  /** The score of each; −∞ for barred tokens. */
  readonly scores: Float64Array;
}

export const tokenAt = ({ tokens }: RankedRow, place: number): number => tokens?.[place] ?? place;

/** All tokens of each row of scores, penalized; those that are not allowed get −∞, and forced ones 0. */
export function allRanked(scores: Scores, rows: number, allowed: readonly Allowed[], kind: ScoreKind): RankedRow[] {
  const vocabulary = scores.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    const { barred, forced, penalties = [] } = allowed[row]!;
    const own = asScores(rowOf(scores, row, vocabulary), kind);
    if (forced) return { scores: forcedScores(forced, barred, vocabulary) };
    for (const penalty of penalties) penalize(own, penalty);
    return { scores: bar(own, barred) };
  });
}

function forcedScores(forced: readonly number[], barred: readonly number[], vocabulary: number): Float64Array {
  const scores = new Float64Array(vocabulary).fill(Number.NEGATIVE_INFINITY);
  for (const token of forced) if (token < vocabulary) scores[token] = 0;
  return bar(scores, barred);
}

/**
 * The log-probabilities of each row's candidates. Throws UsageError when the scores they were taken from are not
 * numbers.
 */
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
