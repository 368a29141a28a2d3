/** A stage of which several ranks share the steps. */
import type { Stage } from "../../dsl/index.ts";
import type { Shard } from "../../runtime/index.ts";

/** Samples of a step, in so many batches. */
export interface Case {
  readonly loss: Stage["loss"];
  readonly samples: number;
  readonly accumulate: number;
  /** Default plain SGD, whose first step is the gradient. */
  readonly optimizer?: Partial<Stage["optimizer"]>;
  readonly precision?: "f16";
  /** What ranks keep parts of. */
  readonly shard?: Shard;
  readonly trainable?: readonly string[];
  readonly frozen?: "int8";
  readonly isValidated?: true;
  /** The decay of the average of the weights. */
  readonly ema?: number;
}
