/** Sampling of the next token: temperature, then top-k, top-p and min-p. */
import { UsageError } from "../../compiler/index.ts";
import { largest, logSumExp } from "./scores.ts";

export interface Sampling {
  readonly kind: "sample";
  /** Divides the scores; default 1; larger values flatten the distribution. */
  readonly temperature?: number;
  /** Keep only this many of the likeliest tokens; default all. */
  readonly topK?: number;
  /**
   * Keep only the likeliest tokens that together have this probability; default 1. Holtzman et al. 2019,
   * arXiv:1904.09751.
   */
  readonly topP?: number;
  /** Keep only tokens of at least this part of the likeliest one's probability; default 0. Nguyen et al. 2024, arXiv:2407.01082. */
  readonly minP?: number;
  /** The same seed draws the same tokens from the same scores. */
  readonly seed: number;
}

/** Throws UsageError for a parameter out of range. */
export function checkSampling({ temperature = 1, topK, topP = 1, minP = 0 }: Sampling): void {
  if (!(temperature > 0))
    throw new UsageError(`the temperature must be above 0, got ${temperature}; for greedy decoding, omit it`);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1))
    throw new UsageError(`top-k must be an integer of at least 1, got ${topK}`);
  if (!(topP > 0 && topP <= 1)) throw new UsageError(`top-p must be above 0 and at most 1, got ${topP}`);
  if (!(minP >= 0 && minP <= 1)) throw new UsageError(`min-p must be from 0 to 1, got ${minP}`);
}

/**
 * Probabilities after temperature, top-k, top-p and min-p, in this order; 0 for tokens cut off. Ties with the k-th token
 * are kept; top-p cuts ties as transformers does, and the likeliest token always stays.
 */
export function keptProbabilities(
  scores: Float64Array,
  { temperature = 1, topK, topP = 1, minP = 0 }: Sampling,
): Float64Array {
  let kept = scores.map((v) => v / temperature);
  if (topK !== undefined && topK < kept.length) {
    const least = kept[largest(kept, topK).at(-1)!]!;
    kept = kept.map((v) => (v < least ? Number.NEGATIVE_INFINITY : v));
  }
  const probabilities = softmax(kept);
  const ofTop = topP < 1 ? softmax(cutTail(kept, probabilities, topP)) : probabilities;
  return minP > 0 ? withoutUnlikely(ofTop, minP) : ofTop;
}

/** Only the tokens of at least `part` of the likeliest one's probability, as probabilities. */
function withoutUnlikely(probabilities: Float64Array, part: number): Float64Array {
  const least = part * probabilities.reduce((most, p) => Math.max(most, p), 0);
  const kept = probabilities.map((p) => (p < least ? 0 : p));
  const total = kept.reduce((sum, p) => sum + p, 0);
  return kept.map((p) => p / total);
}

/** Sets to −∞ the unlikeliest tokens that together have probability at most 1 − p; of ties, the first are cut first. */
function cutTail(scores: Float64Array, probabilities: Float64Array, p: number): Float64Array {
  const ascending = probabilities.slice().sort();
  let cut = 0;
  for (let sum = ascending[0]!; cut < ascending.length - 1 && sum <= 1 - p; sum += ascending[cut]!) cut++;
  const least = ascending[cut]!;
  let equals = cut - ascending.indexOf(least);
  return scores.map((score, token) => {
    const probability = probabilities[token]!;
    const isCut = probability < least || (probability === least && equals-- > 0);
    return isCut ? Number.NEGATIVE_INFINITY : score;
  });
}

function softmax(scores: Float64Array): Float64Array {
  const total = logSumExp(scores);
  return scores.map((v) => Math.exp(v - total));
}

/** Inverse transform sampling: the token whose interval of [0, 1) contains `uniform`, in the order of ids. */
export function drawn(probabilities: Float64Array, uniform: number): number {
  let sum = 0;
  let last = 0;
  for (const [token, p] of probabilities.entries()) {
    if (p === 0) continue;
    sum += p;
    last = token;
    if (uniform < sum) return token;
  }
  return last; // rounding left the sum a little below 1
}
