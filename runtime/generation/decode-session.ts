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
  dispose(): void;
}

export type Scores = Float32Array | Float64Array | Float16Array;
