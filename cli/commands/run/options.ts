/** What every mode of `heddle run` is given. */
import type { Geometry } from "../../../data/index.ts";

export interface RunOptions {
  readonly weights: string;
  readonly tokenizer?: string;
  readonly device: string;
  readonly set: readonly string[];
  /** Rows a run. */
  readonly batch: number;
  /** How pictures become squares, when not as the mode has it. */
  readonly fit?: Geometry["fit"];
  readonly json: boolean;
}
