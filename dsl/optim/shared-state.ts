/** What processes that share the micro-batches of a step do between its graphs. */

import type { Divided, ShardRange } from "./shard.ts";

/** Names in the store. */
export interface SharedState {
  /** Sums that are added up over processes before the update. */
  readonly added: readonly string[];
  /** What each process has rows of along an axis, which are gathered before `middle`; none where samples are not compared. */
  readonly gathered: readonly { readonly state: string; readonly axis: string }[];
  /** What each process has a term of for all samples: every one gets the sums of its own rows, between `middle` and `graph`. */
  readonly addedByRows?: readonly { readonly state: string; readonly axis: string }[];
  /** The number of a process's first micro-batch: an i32 scalar, 0 at first. Where samples are compared. */
  readonly first?: string;
  /** Where each process keeps a part of the optimizer's state: of each arena its range, and where its sum of gradients goes. */
  readonly shard?: {
    readonly ranges: readonly ShardRange[];
    /** One for each arena; where graphs give gradients out, no sum of them is in the store. */
    readonly gradients: readonly { readonly sum?: string; readonly part: string }[];
    /** The norm of all sums of gradients, a scalar. */
    readonly norm: string;
    /** What besides the optimizer's state each process keeps its part of, and which outputs are gradients of which parameters. */
    readonly divided?: {
      readonly what: Divided;
      readonly given: ReadonlyMap<string, string>;
    };
  };
}
