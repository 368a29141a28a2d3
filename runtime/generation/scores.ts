/** Scores of next tokens: log-probabilities in float64, penalties, argmax, top-k. */
import { UsageError } from "../../compiler/index.ts";
import type { Scores } from "./decode-session.ts";
import type { Penalty } from "./token-rules.ts";

/** What tokens are chosen from: logits, or log-probabilities where those of several texts are compared. */
export type ScoreKind = "logits" | "log-probabilities";

/** One row of [row, vocabulary]. */
export const rowOf = (scores: Scores, row: number, vocabulary: number): Scores =>
  scores.subarray(row * vocabulary, (row + 1) * vocabulary);

/** log Σ exp in float64. Throws UsageError when a score is NaN or none is finite: the weights are broken. */
export function logSumExp(scores: Scores): number {
  let top = Number.NEGATIVE_INFINITY;
  for (const v of scores) top = Math.max(top, v); // Math.max propagates NaN
  if (!Number.isFinite(top))
    throw new UsageError(`the model gives a token the score ${top}: its weights diverged or belong to another model`);
  let sum = 0;
  for (const v of scores) sum += Math.exp(v - top);
  return top + Math.log(sum);
}

/** A row in float64: its log softmax, or the logits as they are. */
export function asScores(scores: Scores, kind: ScoreKind): Float64Array {
  const total = logSumExp(scores); // of logits too, since it finds what is not a number
  const all = Float64Array.from(scores);
  if (kind !== "logits") for (let i = 0; i < all.length; i++) all[i]! -= total;
  return all;
}

/**
 * Penalizes tokens by a factor: divides scores above 0, and multiplies others. Keskar et al. 2019, arXiv:1909.05858.
 */
export function penalize(scores: Float64Array, { tokens, factor }: Penalty): Float64Array {
  for (const token of tokens) {
    const score = scores[token];
    if (score !== undefined) scores[token] = score < 0 ? score * factor : score / factor;
  }
  return scores;
}

/** Sets the scores of some tokens to −∞. */
export function bar(scores: Float64Array, barred: readonly number[]): Float64Array {
  for (const token of barred) if (token < scores.length) scores[token] = Number.NEGATIVE_INFINITY;
  return scores;
}

/** The index of the largest value; the first of ties. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** The indices of the `count` largest values, largest first; ties in order. */
export function largest(values: ArrayLike<number>, count: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === count && !(values[i]! > values[best[count - 1]!]!)) continue;
    let at = best.length;
    while (at > 0 && values[i]! > values[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > count) best.pop();
  }
  return best;
}
