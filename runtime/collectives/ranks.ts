/** The ranks of a run: what they decide together, and how the end of one is the end of all. */

import { type Agreements, agreements } from "./agreements.ts";
import type { Collectives } from "./collectives.ts";
import { launchOf } from "./launch.ts";
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

/**
 * Joins the processes that a launcher started, as the environment says; one process alone is `oneRank`. `onLost` is told once when
 * a rank has ended: with a message on the one rank that is to tell it, and on others without.
 */
export async function joinRanks(
  environment: Readonly<Record<string, string | undefined>>,
  onLost: (message: string | undefined, isFirst: boolean) => void,
): Promise<Ranks> {
  const launch = launchOf(environment);
  if (!launch) return oneRank;
  const { openMpi } = await import("./mpi.ts");
  const { watchRanks } = await import("./watch-sockets.ts");
  const mpi = await openMpi(launch, environment.HEDDLE_MPI || undefined);
  const watch = await watchRanks(mpi, (message) => {
    mpi.fail(new Error(message ?? "another rank has ended"));
    onLost(message, mpi.rank === 0);
  });
  return ranksOf(mpi, watch);
}

function ranksOf(collectives: Collectives, watch: Watch): Ranks {
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
