/** Retrieval metrics between two sets of embeddings: recall at k, chance level, and nearest neighbours. */
import { UsageError } from "../compiler/index.ts";

/** Unit vectors as rows [row, width], flat; the score of two rows is their dot product, the cosine. */
export interface Embeddings {
  readonly data: Float32Array;
  readonly width: number;
}

/** Selected rows, in this order. */
export function selectedRows<E extends Embeddings>(embeddings: E, rows: readonly number[]): E {
  const { data, width } = embeddings;
  const selected = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) selected.set(data.subarray(row * width, (row + 1) * width), i * width);
  return { ...embeddings, data: selected };
}

/** The correct candidates of each query; by default candidate i for query i. */
export type Positives = (query: number) => readonly number[];

/** Recall by "r1", "r5", ...: the fraction of queries with a correct candidate among the first k. */
export type Recall = Readonly<Record<`r${number}`, number>>;

export interface RecallOptions {
  readonly ks?: readonly number[];
  readonly positives?: Positives;
}

/**
 * Recall at k (default 1, 5, 10) of queries against all candidates.
 * A wrong candidate that ties with the correct one ranks before it, so that a model with constant scores gets 0.
 * UsageError for sizes that do not match or a value that is not finite.
 */
export function recallAt(queries: Embeddings, candidates: Embeddings, options: RecallOptions = {}): Recall {
  const { ks = [1, 5, 10], positives = same } = options;
  const ranks = rightRanks(queries, candidates, positives);
  return byK(ks, (k) => ranks.filter((rank) => rank <= k).length / ranks.length);
}

/** Recall in both directions; text i matches image i unless `positives` (the images of a text) says otherwise. */
export function retrieval(texts: Embeddings, images: Embeddings, options: RecallOptions = {}) {
  const { positives = same } = options;
  const textsOfImage = Array.from({ length: rowCount(images) }, (): number[] => []);
  for (let text = 0; text < rowCount(texts); text += 1)
    for (const image of positives(text)) textsOfImage[image]?.push(text);
  return {
    textToImage: recallAt(texts, images, options),
    imageToText: recallAt(images, texts, { ...options, positives: (image) => textsOfImage[image]! }),
  };
}

/**
 * Expected recall of a random order: 1 - C(n - m, k) / C(n, k) for m correct ones among n candidates; k / n for one.
 */
export function chanceRecall(candidates: number, ks: readonly number[] = [1, 5, 10], right = 1): Recall {
  return byK(ks, (k) => {
    let miss = 1;
    for (let i = 0; i < Math.min(k, candidates); i += 1) miss *= Math.max(0, candidates - right - i) / (candidates - i);
    return 1 - miss;
  });
}

/** For each query, the 1-based rank of its best correct candidate; ties count against it. Infinity if it has none. */
export function rightRanks(
  queries: Embeddings,
  candidates: Embeddings,
  positives: Positives = same,
): readonly number[] {
  checkFit(queries, candidates);
  const scores = new Float64Array(rowCount(candidates));
  return Array.from({ length: rowCount(queries) }, (_, query) => {
    scoreRow(queries, query, candidates, scores);
    const right = positives(query);
    const best = right.reduce(
      (most, index) => Math.max(most, scores[index] ?? outside(query, index, scores)),
      -Infinity,
    );
    for (const index of right) scores[index] = -Infinity; // correct candidates do not compete with each other
    return right.length === 0 ? Infinity : 1 + scores.reduce((n, score) => n + (score >= best ? 1 : 0), 0);
  });
}

/** A candidate with its score. */
export interface Neighbour {
  readonly index: number;
  readonly score: number;
}

/** The `k` best candidates of one query, best first; equal scores in index order. */
export function nearest(queries: Embeddings, query: number, candidates: Embeddings, k: number): readonly Neighbour[] {
  checkFit(queries, candidates);
  const scores = scoreRow(queries, query, candidates, new Float64Array(rowCount(candidates)));
  return Array.from(scores, (score, index) => ({ index, score }))
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .slice(0, k);
}

/** Normalizes rows to length 1; a row of zeros is left unchanged. */
export function unitRows({ data, width }: Embeddings): Embeddings {
  const unit = new Float32Array(data.length);
  for (let from = 0; from < data.length; from += width) {
    const row = data.subarray(from, from + width);
    const length = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0)) || 1;
    unit.set(
      row.map((v) => v / length),
      from,
    );
  }
  return { data: unit, width };
}

const same: Positives = (query) => [query];

const rowCount = ({ data, width }: Embeddings) => data.length / width;

function scoreRow(queries: Embeddings, query: number, { data, width }: Embeddings, scores: Float64Array): Float64Array {
  const row = queries.data.subarray(query * width, (query + 1) * width);
  for (let c = 0, at = 0; c < scores.length; c += 1) {
    let sum = 0;
    for (let i = 0; i < width; i += 1, at += 1) sum += row[i]! * data[at]!;
    scores[c] = sum;
  }
  return scores;
}

function checkFit(queries: Embeddings, candidates: Embeddings): void {
  if (queries.width !== candidates.width) {
    throw new UsageError(
      `query and candidate embeddings must have the same width, got ${queries.width} and ${candidates.width}`,
    );
  }
  for (const { data, width } of [queries, candidates]) {
    if (!Number.isInteger(width) || width < 1 || data.length === 0 || data.length % width !== 0) {
      throw new UsageError(`${data.length} embedding values cannot be split into rows of width ${width}`);
    }
    const bad = data.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0)
      throw new UsageError(`embedding ${Math.floor(bad / width)} contains ${data[bad]}: the model diverged`);
  }
}

const outside = (query: number, index: number, scores: Float64Array): never => {
  throw new UsageError(`query ${query} has candidate ${index} as its match, but there are ${scores.length} candidates`);
};

const byK = (ks: readonly number[], value: (k: number) => number): Recall =>
  Object.fromEntries(ks.map((k) => [`r${k}`, value(k)]));
