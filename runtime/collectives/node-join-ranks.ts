/** Joins ranks over MPI; the library is loaded only when a launcher started several processes. */
import { setTimeout as sleep } from "node:timers/promises";
import { UsageError } from "../../compiler/index.ts";
import { type Facts, RanksDifferError } from "./differences.ts";
import { launchOf } from "./launch.ts";
import type { Launch } from "./launch-variables.ts";
import { awaitWatcher } from "./node-await-watcher.ts";
import { isToReport } from "./node-start-report.ts";
import { endedAtStart } from "./node-watch-lines.ts";
import { oneRank, type Ranks, ranksOf } from "./ranks.ts";

/** Milliseconds that the rank that reports differences has to do so. */
const tellingMs = 10_000;
/**
 * Milliseconds that a rank outlives a launcher's signal while the ranks join: the launcher sends it when one has ended,
 * and the watcher then sees which one it is.
 */
const outliveMs = 1500;

/**
 * Joins the processes that a launcher started, as the environment says; a single process gets `oneRank`. `onLost` is
 * called once when a rank has ended or its facts differ from these, with a message if this rank is the one to report
 * it.
 */
export async function joinRanks(
  environment: Readonly<Record<string, string | undefined>>,
  onLost: (message: string | undefined, isFirst: boolean) => void,
  facts: Facts = {},
): Promise<Ranks> {
  const launch = launchOf(environment);
  if (!launch) return oneRank;
  const { openMpi } = await import("./node-mpi.ts");
  const { startWatcher, watchRanks } = await import("./node-watch-ranks.ts");
  // UCX, which carries MPICH's messages, prints a trace when its peer has just died; the watcher already reports which
  // rank that was.
  process.env.UCX_HANDLE_ERRORS = environment.UCX_HANDLE_ERRORS ?? "none";
  using outliving = outliveSignals();
  const watcher = launch.rank === 0 ? startWatcher() : undefined;
  // Rank 0 too: MPI_Init may end it before the watcher has found the others, which would then each report that.
  if (watcher) await Promise.race([awaitWatcher(), watcher.failed]);
  else await untilWatched(launch);
  const mpi = await openMpi(launch, environment.HEDDLE_MPI || undefined).catch(async (error: unknown) => {
    await watcher?.dispose();
    if (!(await isToReport(launch)) || outliving.isAsked()) process.exit(1);
    throw error;
  });
  const isFirst = mpi.rank === 0;
  const lost = (message?: string) => {
    mpi.fail(new Error(message ?? "another rank has ended"));
    onLost(message, isFirst);
  };
  const watch = await watchRanks(mpi, { watcher, facts }, lost).catch(async (error: unknown) => {
    await watcher?.dispose();
    if (!(error instanceof RanksDifferError)) throw error;
    if (!error.isToldHere) await sleep(tellingMs); // launchers end all when the first ends
    lost(error.isToldHere ? error.message : undefined);
    throw error;
  });
  return ranksOf(mpi, watch);
}

/** Ends this rank if rank 0 has ended before it could start the watcher. */
async function untilWatched(launch: Launch): Promise<void> {
  const state = await awaitWatcher();
  if (state === "watched" || state === "elsewhere") return;
  if (state === "reported" || !(await isToReport(launch, true))) process.exit(1);
  throw new UsageError(endedAtStart(["rank 0"]));
}

/** Delays the end that a launcher's signal asks for. */
function outliveSignals(): Disposable & { readonly isAsked: () => boolean } {
  let isAsked = false;
  const onSignal = () => {
    isAsked = true;
    setTimeout(() => process.exit(143), outliveMs).unref();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGUSR1", nothing); // MPICH's launcher sends it; Node would open a debugger
  return {
    isAsked: () => isAsked,
    [Symbol.dispose]: () => void process.off("SIGTERM", onSignal),
  };
}

const nothing = () => {};
