/**
 * A rank's wait for the process that watches the ranks. Without it, a rank that ends early is noticed by nobody:
 * MPI_Init waits for it forever, and does not let this process do anything meanwhile.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isLauncherSeen, type LaunchedProcess, launchedProcess, processesLike } from "./node-launched-processes.ts";
import { answersAtStart } from "./node-start-sockets.ts";

/** Milliseconds between attempts to reach it, and between looks at the processes of rank 0. */
const [askMs, lookMs] = [100, 1000];
/** Milliseconds until the ranks start unwatched: rank 0 may be in a network of its own. */
const longestMs = 60_000;

/**
 * "watched": the watcher runs. "reported": a rank has reported why the ranks cannot start. "ended": rank 0, of this
 * machine, has ended without a watcher. "elsewhere": rank 0 is on another machine, or nothing is known of it.
 */
export type WatcherState = "watched" | "reported" | "ended" | "elsewhere";

export async function awaitWatcher(): Promise<WatcherState> {
  const own = launchedProcess(process.pid);
  if (!own) return "elsewhere";
  const first = firstRank(own);
  const begun = performance.now();
  for (let looked = 0; performance.now() - begun < longestMs; ) {
    if (await answersAtStart("watcher", own)) return "watched";
    if (await answersAtStart("report", own)) return "reported";
    if (performance.now() - begun >= looked * lookMs) {
      looked += 1;
      const state = first();
      if (state !== "alive") return state;
    }
    await sleep(askMs);
  }
  return "elsewhere";
}

/** Looks for rank 0 each time it is called. It has ended if two looks in a row find no process of it. */
function firstRank(own: LaunchedProcess): () => "alive" | "ended" | "elsewhere" {
  let isHere = own.launch.onMachine === own.launch.size && isLauncherSeen(own);
  let looksWithout = 0;
  return () => {
    if (processesLike(own).some(({ launch }) => launch.rank === 0)) {
      isHere = true;
      looksWithout = 0;
      return "alive";
    }
    if (!isHere) return "elsewhere";
    return ++looksWithout < 2 ? "alive" : "ended";
  };
}
