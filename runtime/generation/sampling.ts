/** Sampling of the next token: temperature, then what top-k, top-p, min-p, typical, epsilon and eta sampling keep. */
import { UsageError } from "../../compiler/index.ts";
import { largest, logSumExp } from "./scores.ts";

/** Options of random sampling from the next token's distribution. */
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
  /**
   * Keep only tokens of at least this part of the likeliest one's probability; default 0. Nguyen et al. 2024,
   * arXiv:2407.01082.
   */
  readonly minP?: number;
  /**
   * Keep only the tokens whose surprisal is closest to the entropy, that together have this probability; default 1.
   * Meister et al. 2022, arXiv:2202.00666.
   */
  readonly typicalP?: number;
  /** Keep only tokens of at least this probability; default 0. Hewitt et al. 2022, arXiv:2210.15191. */
  readonly epsilonCutoff?: number;
  /**
   * Keep only tokens of at least this probability ε, or √ε · exp(−entropy) where that is less; default 0. The same
   * paper.
   */
  readonly etaCutoff?: number;
  /** The same seed draws the same tokens from the same scores. */
  readonly seed: number;
}

/** Throws UsageError for a parameter out of range. */
export function checkSampling(sampling: Sampling): void {
  const { temperature = 1, topK, topP = 1, minP = 0, typicalP = 1, epsilonCutoff = 0, etaCutoff = 0 } = sampling;
  if (!(temperature > 0))
    throw new UsageError(`the temperature must be above 0, got ${temperature}; for greedy decoding, omit it`);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1))
    throw new UsageError(`top-k must be an integer of at least 1, got ${topK}`);
  if (!(topP > 0 && topP <= 1)) throw new UsageError(`top-p must be above 0 and at most 1, got ${topP}`);
  if (!(minP >= 0 && minP <= 1)) throw new UsageError(`min-p must be from 0 to 1, got ${minP}`);
  if (!(typicalP > 0 && typicalP <= 1))
    throw new UsageError(`typical-p must be above 0 and at most 1, got ${typicalP}`);
  for (const [name, cutoff] of Object.entries({ epsilon: epsilonCutoff, eta: etaCutoff }))
    if (!(cutoff >= 0 && cutoff < 1))
      throw new UsageError(`the ${name} cutoff must be from 0 to below 1, got ${cutoff}`);
}

/**
 * Probabilities [vocabulary] of scores [vocabulary] after temperature, top-k, top-p, min-p, typical-p, epsilon and eta
 * cutoff, in this order, which is that of transformers; 0 for tokens cut off. Ties with the k-th token are kept; top-p
 * cuts ties as transformers does, and the likeliest token always stays.
 */
export function keptProbabilities(scores: Float64Array, sampling: Sampling): Float64Array {
  const { temperature = 1, topK, topP = 1, minP = 0, typicalP = 1, epsilonCutoff = 0, etaCutoff = 0 } = sampling;
  let kept = scores.map((v) => v / temperature);
  if (topK !== undefined && topK < kept.length) {
    const least = kept[largest(kept, topK).at(-1)!]!;
    kept = kept.map((v) => (v < least ? Number.NEGATIVE_INFINITY : v));
  }
  const probabilities = softmax(kept);
  let made = topP < 1 ? softmax(cutTail(kept, probabilities, topP)) : probabilities;
  if (minP > 0) made = onlyLikely(made, minP * likeliest(made));
  if (typicalP < 1) made = onlyTypical(made, typicalP);
  if (epsilonCutoff > 0) made = onlyLikely(made, epsilonCutoff);
  return etaCutoff > 0 ? onlyLikely(made, Math.min(etaCutoff, etaCutoff ** 0.5 * Math.exp(-entropyOf(made)))) : made;
}

const likeliest = (probabilities: Float64Array): number => probabilities.reduce((most, p) => Math.max(most, p), 0);

/** −Σ p · log p, in nats. */
const entropyOf = (probabilities: Float64Array): number =>
  probabilities.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);

/** The tokens of at least a probability, and always the likeliest, as probabilities. */
function onlyLikely(probabilities: Float64Array, least: number): Float64Array {
  const bound = Math.min(least, likeliest(probabilities));
  return normalized(probabilities.map((p) => (p < bound ? 0 : p)));
}

/** The tokens whose surprisal −log p is closest to the entropy, until they have probability `mass`. */
function onlyTypical(probabilities: Float64Array, mass: number): Float64Array {
  const entropy = entropyOf(probabilities);
  const distance = probabilities.map((p) => Math.abs(-Math.log(p) - entropy));
  const closest = [...distance.keys()].sort((a, b) => distance[a]! - distance[b]!);
  let [sum, last] = [probabilities[closest[0]!]!, 0];
  while (sum < mass && last < closest.length - 1) sum += probabilities[closest[++last]!]!;
  const most = distance[closest[last]!]!;
  return normalized(probabilities.map((p, token) => (distance[token]! > most ? 0 : p)));
}

function normalized(probabilities: Float64Array): Float64Array {
  const total = probabilities.reduce((sum, p) => sum + p, 0);
  return probabilities.map((p) => p / total);
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
