/** Which rank reports why the ranks cannot start: they usually have the same reason, and cannot talk over MPI yet. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Launch } from "./launch-variables.ts";
import { awaitWatcher } from "./node-await-watcher.ts";
import { type LaunchedProcess, launchedProcess, processesLike } from "./node-launched-processes.ts";
import { answersAtStart, listenAtStart } from "./node-start-sockets.ts";

/** Milliseconds that a rank waits for the report of rank 0 once that has started, and between questions for it. */
const [waitMs, askMs] = [5000, 100];
/** Milliseconds that the rank that reports stays for others that have not started yet, and between looks at them. */
const [stayMs, lookMs] = [10_000, 250];

let decided: Promise<boolean> | undefined;

/**
 * Whether this process is to report an error that keeps it from joining the others: rank 0 at once; of the others of a
 * machine the first one, if rank 0 has not within 5 seconds of its start. With `atOnce` nobody waits, because rank 0
 * has ended. The process then does not end before the other ranks of its machine have, for 10 seconds at most.
 */
export const isToReport = ({ rank }: Pick<Launch, "rank">, atOnce = rank === 0): Promise<boolean> =>
  (decided ??= decide(atOnce));

async function decide(atOnce: boolean): Promise<boolean> {
  const own = launchedProcess(process.pid);
  if (!own) {
    if (!atOnce) await sleep(waitMs); // the launcher may end this process meanwhile
    return true;
  }
  if (!atOnce && (await isReported(own))) return false;
  const listening = await listenAtStart("report", own);
  if (!listening) return !(await answersAtStart("report", own));
  stay(own, () => listening.close());
  return true;
}

/** Waits for rank 0, which may start later, and then for its report. */
async function isReported(own: LaunchedProcess): Promise<boolean> {
  const state = await awaitWatcher();
  if (state === "reported" || state === "ended") return state === "reported";
  for (const until = performance.now() + waitMs; performance.now() < until; await sleep(askMs))
    if (await answersAtStart("report", own)) return true;
  return false;
}

/** Calls `leave` once no other rank has a process on this machine. */
function stay(own: LaunchedProcess, leave: () => void): void {
  const begun = performance.now();
  const looking = setInterval(() => {
    const areOthers = processesLike(own).some(({ launch }) => launch.rank !== own.launch.rank);
    if (areOthers && performance.now() - begun < stayMs) return;
    clearInterval(looking);
    leave();
  }, lookMs);
}
