/** Caption metrics: BLEU and CIDEr-D as in coco-caption, and METEOR with exact matches only. */
import { UsageError } from "../../compiler/index.ts";
import { captionWords } from "./caption-words.ts";

export interface CaptionSample {
  readonly candidate: string;
  readonly references: readonly string[];
}

/** BLEU and METEOR in [0, 1], CIDEr-D in [0, 10]. */
export type CaptionScores = {
  readonly bleu1: number;
  readonly bleu2: number;
  readonly bleu3: number;
  readonly bleu4: number;
  readonly cider: number;
  readonly meteorExact: number;
};

/**
 * Throws UsageError without samples, or for a sample without references. CIDEr-D of a single sample is 0, since its
 * document frequencies are all maximal.
 */
export function captionScores(samples: readonly CaptionSample[]): CaptionScores {
  if (samples.length === 0) throw new UsageError("there are no captions to score");
  const none = samples.findIndex(({ references }) => references.length === 0);
  if (none >= 0) throw new UsageError(`caption ${none} has no references`);
  const worded = samples.map(({ candidate, references }) => ({
    candidate: captionWords(candidate),
    references: references.map(captionWords),
  }));
  const [bleu1, bleu2, bleu3, bleu4] = bleu(worded) as [number, number, number, number];
  return { bleu1, bleu2, bleu3, bleu4, cider: cider(worded), meteorExact: meteorExact(worded) };
}

type Words = readonly string[];

interface Worded {
  readonly candidate: Words;
  readonly references: readonly Words[];
}

const longest = 4;

/** The counts of n-grams, for n from 1 to 4. */
function grams(words: Words): readonly ReadonlyMap<string, number>[] {
  return Array.from({ length: longest }, (_, n) => {
    const counts = new Map<string, number>();
    for (let i = 0; i + n < words.length; i += 1) {
      const gram = words.slice(i, i + n + 1).join(" ");
      counts.set(gram, (counts.get(gram) ?? 0) + 1);
    }
    return counts;
  });
}

/**
 * Corpus BLEU-1 to 4 with the closest reference length. Papineni et al. 2002, section 2.3; bleu_scorer.py of
 * coco-caption, whose small constants avoid division by 0 for a corpus without a match.
 */
function bleu(samples: readonly Worded[]): number[] {
  const [tiny, small] = [1e-15, 1e-9];
  const [right, made] = [new Float64Array(longest), new Float64Array(longest)];
  let [length, wanted] = [0, 0];
  for (const { candidate, references } of samples) {
    length += candidate.length;
    wanted += references
      .map((r) => r.length)
      .reduce((best, n) => {
        const [a, b] = [Math.abs(n - candidate.length), Math.abs(best - candidate.length)];
        return a < b || (a === b && n < best) ? n : best;
      });
    const own = grams(candidate);
    const known = references.map(grams);
    for (let n = 0; n < longest; n += 1) {
      made[n]! += Math.max(0, candidate.length - n);
      for (const [gram, count] of own[n]!)
        right[n]! += Math.min(count, Math.max(...known.map((of) => of[n]!.get(gram) ?? 0)));
    }
  }
  const ratio = (length + tiny) / (wanted + small);
  const brevity = ratio < 1 ? Math.exp(1 - 1 / ratio) : 1;
  let product = 1;
  return Array.from(right, (count, n) => {
    product *= (count + tiny) / (made[n]! + small);
    return brevity * product ** (1 / (n + 1));
  });
}

/** CIDEr-D's standard deviation for differences in length. */
const sigma = 6;

/** Vedantam et al. 2015, arXiv:1411.5726, section 5 (CIDEr-D, without stemming); cider_scorer.py of coco-caption. */
function cider(samples: readonly Worded[]): number {
  const documents = new Map<string, number>();
  const counted = samples.map(({ candidate, references }) => ({
    candidate: grams(candidate),
    references: references.map(grams),
  }));
  for (const { references } of counted)
    for (const gram of new Set(references.flatMap((of) => of.flatMap((counts) => [...counts.keys()]))))
      documents.set(gram, (documents.get(gram) ?? 0) + 1);
  const all = Math.log(samples.length);
  const weighted = (of: ReturnType<typeof grams>) => {
    const vectors = of.map(
      (counts) =>
        new Map([...counts].map(([gram, n]) => [gram, n * (all - Math.log(Math.max(1, documents.get(gram) ?? 0)))])),
    );
    const norms = vectors.map((v) => Math.sqrt([...v.values()].reduce((sum, x) => sum + x * x, 0)));
    // As in the reference implementation, the length is the number of bigrams.
    return { vectors, norms, length: [...of[1]!.values()].reduce((a, b) => a + b, 0) };
  };
  const scores = counted.map(({ candidate, references }) => {
    const own = weighted(candidate);
    const likeness = references.map((reference) => {
      const other = weighted(reference);
      const penalty = Math.exp(-((own.length - other.length) ** 2) / (2 * sigma ** 2));
      return own.vectors.reduce((sum, vector, n) => {
        const norm = own.norms[n]! * other.norms[n]!;
        let product = 0;
        for (const [gram, x] of vector) {
          const y = other.vectors[n]!.get(gram) ?? 0;
          product += Math.min(x, y) * y;
        }
        return sum + (penalty * (norm === 0 ? product : product / norm)) / longest;
      }, 0);
    });
    return (10 * likeness.reduce((a, b) => a + b, 0)) / references.length;
  });
  return scores.reduce((a, b) => a + b, 0) / scores.length;
}

/**
 * Banerjee and Lavie 2005, section 2.2, with exact matches only, without stemming or synonyms: the mean of the best
 * reference's 10 P R / (R + 9 P) · (1 - (chunks / matches)³ / 2). Chunks are matched greedily, longest first, which may
 * not give the fewest.
 */
function meteorExact(samples: readonly Worded[]): number {
  const scores = samples.map(({ candidate, references }) =>
    Math.max(
      ...references.map((reference) => {
        const { matches, chunks } = aligned(candidate, reference);
        if (matches === 0) return 0;
        const [precision, recall] = [matches / candidate.length, matches / reference.length];
        return ((10 * precision * recall) / (recall + 9 * precision)) * (1 - 0.5 * (chunks / matches) ** 3);
      }),
    ),
  );
  return scores.reduce((a, b) => a + b, 0) / scores.length;
}

/** Greedy alignment of two texts: repeatedly matches the longest common run of unmatched words. */
export function aligned(one: Words, other: Words): { readonly matches: number; readonly chunks: number } {
  const [left, right] = [one.map(() => true), other.map(() => true)];
  let [matches, chunks] = [0, 0];
  while (true) {
    let best = { i: 0, j: 0, length: 0 };
    for (let i = 0; i < one.length; i += 1)
      for (let j = 0; j < other.length; j += 1) {
        let length = 0;
        while (left[i + length] && right[j + length] && one[i + length] === other[j + length]) length += 1;
        if (length > best.length) best = { i, j, length };
      }
    if (best.length === 0) return { matches, chunks };
    left.fill(false, best.i, best.i + best.length);
    right.fill(false, best.j, best.j + best.length);
    matches += best.length;
    chunks += 1;
  }
}
