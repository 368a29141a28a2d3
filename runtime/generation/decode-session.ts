/** The decoder interface that generation uses: it takes tokens, keeps their cache, and scores the next token. */

export interface DecodeSession {
  /** Batch size, in texts. */
  readonly rows: number;
  /** Scores per row. */
  readonly vocabulary: number;
  /**
   * Appends one or more tokens to each row, not necessarily as many to each. Returns the scores of the token after each
   * row's last, [row, vocabulary] flat: logits of any scale and offset.
   */
  step(ids: readonly (readonly number[])[]): Promise<Scores>;
  /** Makes row i continue from row `rows[i]`. */
  reorder(rows: readonly number[]): Promise<void>;
  /**
   * Appends one token to each row and returns the `count` likeliest next ones; present when that does not need all
   * scores to be read back. With `parents`, row i continues from row `parents[i]`.
   */
  rank?(tokens: readonly number[], count: number, parents?: readonly number[]): Promise<Candidates>;
  dispose(): void;
}

/** The likeliest next tokens of each row. */
export interface Candidates {
  readonly count: number;
  /** [row, count] flat, the likeliest first. */
  readonly tokens: ArrayLike<number>;
  /** The scores of `tokens`, likewise. */
  readonly scores: ArrayLike<number>;
  /** [row]: log Σ exp of all scores of each row. */
  readonly totals: ArrayLike<number>;
}

export type Scores = Float32Array | Float64Array | Float16Array;
