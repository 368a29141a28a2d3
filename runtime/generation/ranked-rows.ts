/** Log-probabilities of a text's next token: of all tokens, or of the likeliest only. */
import { UsageError } from "../../compiler/index.ts";
import type { Candidates, Scores } from "./decode-session.ts";
import { logProbabilities, rowOf } from "./scores.ts";

export interface RankedRow {
  /** In ascending order; absent when `scores` covers the whole vocabulary. */
  readonly tokens?: readonly number[];
  /** The log-probability of each; −∞ for barred tokens. */
  readonly scores: Float64Array;
}

export const tokenAt = ({ tokens }: RankedRow, place: number): number => tokens?.[place] ?? place;

/** All tokens of each row of scores; those in `barred` get −∞. */
export const allRanked = (scores: Scores, rows: number, barred: readonly number[]): RankedRow[] =>
  Array.from({ length: rows }, (_, row) => ({
    scores: logProbabilities(rowOf(scores, row, scores.length / rows), barred),
  }));

/** The candidates of each row. Throws UsageError when the scores they were taken from are not numbers. */
export function rankedCandidates(
  { count, tokens, scores, totals }: Candidates,
  barred: readonly number[],
): RankedRow[] {
  return Array.from(totals, (total, row) => {
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
