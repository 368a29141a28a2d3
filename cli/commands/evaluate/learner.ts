/** The interface of classifiers on a frozen encoder's features. */
import type { Backend } from "../../../backends/backend.ts";
import type { Embeddings } from "../../../data/index.ts";
import type { EvaluateOptions } from "./options.ts";

/** A row for each image; several tokens are concatenated. */
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

/** Class scores of a test row. */
export type Scores = (row: number) => Float64Array;

export interface Learner {
  readonly summary: string;
  readonly takes: readonly (keyof EvaluateOptions)[];
  /** Whether it uses all tokens of an image, not one vector. */
  readonly readsTokens?: boolean;
  /** Its hyperparameters, for comparing results. */
  readonly asked: (options: EvaluateOptions) => Readonly<Record<string, number>>;
  readonly learn: (given: Learned, test: TokenVectors) => Scores | Promise<Scores>;
}
