/** The exchange between data-parallel processes that share the micro-batches of a step. */
import type { Kept } from "./accumulation.ts";
import type { Divided, ShardRange } from "./shard.ts";

/** The states to exchange, by their names in the store. */
export interface SharedState {
  /** Sums that are all-reduced before the update. */
  readonly added: readonly string[];
  /**
   * States whose rows, along an axis, are divided among processes as the step's samples are, and gathered before
   * `middle`; empty unless samples are compared.
   */
  readonly gathered: readonly { readonly state: string; readonly axis: string }[];
  /**
   * States of which each process has a partial sum for all samples: reduce-scattered between `middle` and `graph`, so
   * that each gets the sums of its own rows.
   */
  readonly addedByRows?: readonly { readonly state: string; readonly axis: string }[];
  /** The index of a process's first sample in the step: an i32 scalar, initially 0. Only if samples are compared. */
  readonly first?: string;
  /** For sharded optimizer state: the process's range of each arena, and where its gradient sum goes. */
  readonly shard?: {
    readonly ranges: readonly ShardRange[];
    /** One for each arena; `sum` is undefined if graphs output gradients. */
    readonly gradients: readonly { readonly sum?: string; readonly part: string }[];
    /** The norm of all gradient sums, a scalar. */
    readonly norm: string;
    /** The rule's sums over whole parameters, of which `terms` computes this process's terms. */
    readonly sums?: Kept;
    /** The process's range of each arena's average. */
    readonly averages?: readonly string[];
    /** What else is sharded, and the parameter of each gradient output. */
    readonly divided?: {
      readonly what: Divided;
      readonly given: ReadonlyMap<string, string>;
    };
  };
}
