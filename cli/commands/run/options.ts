/** What every mode of `heddle run` is given. */
import type { WeightDType } from "../../../compiler/index.ts";
import type { Geometry } from "../../../data/index.ts";

export interface RunOptions {
  /** A path, or "random". */
  readonly weights: string;
  readonly tokenizer?: string;
  readonly device: string;
  readonly set: readonly string[];
  /** Rows a run. */
  readonly batch: number;
  /** How pictures become squares, when not as the mode has it. */
  readonly fit?: Geometry["fit"];
  /** What weights are kept as and, where it is f16 and the device can, computed with; sums are in f32 either way. */
  readonly dtype: WeightDType;
  /** Compile anew for each set of sizes that runs come with. */
  readonly fixed: boolean;
  /** Weights stay on disk and come part by part. */
  readonly offload: boolean;
  /** Bytes of weights held at once while they do; default 2 GB. */
  readonly memory?: number;
  /** Whether what heddle tune found is used. */
  readonly tuning: boolean;
  readonly json: boolean;
}
