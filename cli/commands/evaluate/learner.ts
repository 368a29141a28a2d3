/** What learns classes from the vectors of a frozen encoder, whatever it is. */
import type { Backend } from "../../../backends/backend.ts";
import type { Embeddings } from "../../../data/index.ts";
import type { EvaluateOptions } from "./options.ts";

/** A row for each picture; of several tokens, these one after the other. */
export interface TokenVectors extends Embeddings {
  /** Default 1. */
  readonly tokens?: number;
}

export interface Learned {
  readonly train: TokenVectors;
  readonly labels: readonly number[];
  readonly classes: number;
  readonly options: EvaluateOptions;
  readonly seed: number;
  readonly backend: Backend;
}

/** Scores of a row of what is judged by, one a class. */
export type Scores = (row: number) => Float64Array;

export interface Learner {
  readonly summary: string;
  readonly takes: readonly (keyof EvaluateOptions)[];
  /** Whether it learns from all tokens of a picture, and not from one vector. */
  readonly readsTokens?: boolean;
  /** How it was asked, for whoever compares results. */
  readonly asked: (options: EvaluateOptions) => Readonly<Record<string, number>>;
  readonly learn: (given: Learned, test: TokenVectors) => Scores | Promise<Scores>;
}
