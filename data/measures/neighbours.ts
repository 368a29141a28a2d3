/** Weighted k-nearest-neighbour classification. Wu et al. 2018, arXiv:1805.01978, section 3.4. */
import { type Embeddings, nearest } from "../retrieval.ts";

export interface NeighbourOptions {
  readonly classes: number;
  readonly k: number;
  /** The weights are exp(cosine / temperature). */
  readonly temperature: number;
}

/** The class scores of a query: sums of the weights of its k nearest known vectors. All must be unit vectors. */
export function neighbourScores(
  queries: Embeddings,
  query: number,
  known: Embeddings,
  labels: readonly number[],
  { classes, k, temperature }: NeighbourOptions,
): Float64Array {
  const scores = new Float64Array(classes);
  // Relative to the nearest, to avoid overflow.
  const found = nearest(queries, query, known, k);
  for (const { index, score } of found) scores[labels[index]!]! += Math.exp((score - found[0]!.score) / temperature);
  return scores;
}
