/** What generation asks of a decoder: it is given tokens, remembers them, and scores what may come next. */

export interface DecodeSession {
  /** Texts that are written side by side. */
  readonly rows: number;
  /** Scores a row has. */
  readonly vocabulary: number;
  /**
   * Takes the next tokens of each row, one or more, not the same number for all. Gives the scores of the token after
   * each row's last, [row, vocabulary] flat: logits of any scale and offset.
   */
  step(ids: readonly (readonly number[])[]): Promise<Scores>;
  /** Row i goes on from what row `rows[i]` has. */
  reorder(rows: readonly number[]): Promise<void>;
  /**
   * Takes one token of each row and gives the `count` likeliest next ones, where they are found without reading all
   * scores. With `parents`, row i goes on from what row `parents[i]` had.
   */
  rank?(tokens: readonly number[], count: number, parents?: readonly number[]): Promise<Candidates>;
  dispose(): void;
}

/** The likeliest next tokens of each row. */
export interface Candidates {
  readonly count: number;
  /** [row, count] flat, the likeliest first. */
  readonly tokens: ArrayLike<number>;
  /** The scores of these. */
  readonly scores: ArrayLike<number>;
  /** Of each row: log Σ exp of all its scores. */
  readonly totals: ArrayLike<number>;
}

export type Scores = Float32Array | Float64Array | Float16Array;
