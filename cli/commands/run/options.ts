/** The common options of all modes of `heddle run`. */
import type { ImageSize, WeightDType } from "../../../compiler/index.ts";
import type { Geometry } from "../../../data/index.ts";

export interface RunOptions {
  /** A path, or "random". */
  readonly weights: string;
  readonly tokenizer?: string;
  readonly device: string;
  readonly set: readonly string[];
  /** Rows per run. */
  readonly batch: number;
  /** How images get the aspect ratio of the model's input; default as the mode has it. */
  readonly fit?: Geometry["fit"];
  /** Height and width of images, for a model of any; default those that the checkpoint's processor makes. */
  readonly size?: ImageSize;
  /**
   * Storage dtype of the weights; f16 is also the compute dtype where the device supports it. Accumulation is in f32
   * either way.
   */
  readonly dtype: WeightDType;
  /** Compile separately for each set of sizes. */
  readonly fixed: boolean;
  /** Offload weights to disk and stream them part by part. */
  readonly offload: boolean;
  /** Bytes of weights held at once while streaming; default 2 GB. */
  readonly memory?: number;
  /** Whether tuning results of `heddle tune` are used. */
  readonly tuning: boolean;
  readonly json: boolean;
}
