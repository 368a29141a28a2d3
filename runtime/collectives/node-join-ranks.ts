/** Joining ranks over MPI, whose library is loaded only where a launcher started several. */
import { launchOf } from "./launch.ts";
import { oneRank, type Ranks, ranksOf } from "./ranks.ts";

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
  const { openMpi } = await import("./node-mpi.ts");
  const { watchRanks } = await import("./node-watch-sockets.ts");
  const mpi = await openMpi(launch, environment.HEDDLE_MPI || undefined);
  const watch = await watchRanks(mpi, (message) => {
    mpi.fail(new Error(message ?? "another rank has ended"));
    onLost(message, mpi.rank === 0);
  });
  return ranksOf(mpi, watch);
}
