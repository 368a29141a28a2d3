/** What processes that share the micro-batches of a step do between its graphs. */

/** Names in the store. */
export interface SharedState {
  /** Sums that are added up over processes before the update. */
  readonly added: readonly string[];
  /** What each process has rows of along an axis, which are gathered before `middle`; none where samples are not compared. */
  readonly gathered: readonly { readonly state: string; readonly axis: string }[];
  /** The number of a process's first micro-batch: an i32 scalar, 0 at first. Where samples are compared. */
  readonly first?: string;
}
