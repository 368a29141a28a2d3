/** Joining ranks over MPI, whose library is loaded only where a launcher started several. */
import { launchOf } from "./launch.ts";
import { oneRank, type Ranks, ranksOf } from "./ranks.ts";

/**
 * Joins the processes that a launcher started, as the environment says; one process alone is `oneRank`. `onLost` is told once when
 * a rank has ended; with a message where this rank is to tell it.
 */
export async function joinRanks(
  environment: Readonly<Record<string, string | undefined>>,
  onLost: (message: string | undefined, isFirst: boolean) => void,
): Promise<Ranks> {
  const launch = launchOf(environment);
  if (!launch) return oneRank;
  const { openMpi } = await import("./node-mpi.ts");
  const { watchRanks } = await import("./node-watch-ranks.ts");
  tameUcx(environment);
  const mpi = await openMpi(launch, environment.HEDDLE_MPI || undefined);
  const watch = await watchRanks(mpi, (message) => {
    mpi.fail(new Error(message ?? "another rank has ended"));
    onLost(message, mpi.rank === 0);
  });
  return ranksOf(mpi, watch);
}

/**
 * UCX, which carries MPICH's messages and others', ends a process with a trace when it copies from one that has just ended: so it is to
 * copy through shared memory instead, which takes one copy more, and to leave faults to Node. What a person sets stays.
 */
function tameUcx({ UCX_TLS, UCX_HANDLE_ERRORS }: Readonly<Record<string, string | undefined>>): void {
  process.env.UCX_TLS = UCX_TLS ?? "^cma";
  process.env.UCX_HANDLE_ERRORS = UCX_HANDLE_ERRORS ?? "none";
}
