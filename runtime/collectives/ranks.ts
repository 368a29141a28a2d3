/** The ranks of a run: what they decide together, and how the end of one is the end of all. */

import { type Agreements, agreements } from "./agreements.ts";
import type { Collectives } from "./collectives.ts";
import { singleProcess } from "./single.ts";
import { unwatched, type Watch } from "./watch.ts";

export interface Ranks extends Agreements, Pick<Watch, "fails"> {
  readonly collectives: Collectives;
  /** Whether this is the rank that writes and speaks. */
  readonly isFirst: boolean;
  /** Waits for all ranks and leaves them. */
  dispose(): Promise<void>;
}

/** One process, which loads nothing. */
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
