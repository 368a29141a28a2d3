/** The ranks of a run: joint decisions, and failure of all when one fails. */

import { type Agreements, agreements } from "./agreements.ts";
import type { Collectives } from "./collectives.ts";
import { singleProcess } from "./single.ts";
import { unwatched, type Watch } from "./watch.ts";

export interface Ranks extends Agreements, Pick<Watch, "fails"> {
  readonly collectives: Collectives;
  /** Whether this is the rank that writes files and messages. */
  readonly isFirst: boolean;
  /** Waits for all ranks, then shuts down. */
  dispose(): Promise<void>;
}

/** A single process; no library is loaded. */
export const oneRank: Ranks = ranksOf(singleProcess, unwatched);

export function ranksOf(collectives: Collectives, watch: Watch): Ranks {
  return {
    collectives,
    isFirst: collectives.rank === 0,
    ...agreements(collectives),
    fails: watch.fails,
    dispose: async () => {
      await collectives.barrier();
      watch.dispose();
      await collectives.dispose();
    },
  };
}
