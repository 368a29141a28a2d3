/** Watches the ranks of a machine until MPI has joined them: MPI would wait forever for one that has ended. */
import { hostname } from "node:os";
import type { StartingRanks } from "./node-starting-ranks.ts";
import { allEndedAtStart, endedAtStart, missingAtStart, namesOf } from "./node-watch-lines.ts";

export interface StartWatch {
  /** MPI has joined the ranks, or nothing is to be watched any more. */
  end(): void;
  /** A rank has reported why the ranks cannot start. */
  isReported(): void;
  /** Rank 0 has ended. */
  firstHasEnded(): void;
}

export interface StartEvents {
  /** Called at most once. */
  tell(message: string): void;
  /** The ranks cannot start, and those of this machine have ended. */
  allEnded(): void;
}

/** All in milliseconds. */
const usualTimes = {
  /** Between looks at the processes of ranks. */
  look: 100,
  /**
   * From when on a rank without a process has ended rather than not started, and how long none must be found for it.
   */
  missing: 3000,
  confirm: 1000,
  /** What the launcher has to end the others when a rank has ended; then they are killed. */
  launcher: 3000,
  /** What ranks have that cannot start: the one that reports it may wait for the others. */
  reported: 12_000,
};

export function watchStart(starting: StartingRanks, { tell, allEnded }: StartEvents, times = usualTimes): StartWatch {
  const begun = performance.now();
  let isTold = false;
  let endAt = Number.POSITIVE_INFINITY;
  let missingSince = Number.POSITIVE_INFINITY;
  const endAll = (after: number, message?: string) => {
    if (message !== undefined && !isTold) tell(message);
    isTold = true;
    endAt = Math.min(endAt, performance.now() + after);
  };
  const findMissing = () => {
    const now = performance.now();
    if (isTold || now - begun < times.missing) return;
    const missing = starting.missing();
    if (missing.count === 0) missingSince = Number.POSITIVE_INFINITY;
    else if (missingSince < now) endAll(times.launcher, missingAtStart(hostname(), missing));
    else missingSince = now;
  };
  const look = () => {
    const isDue = performance.now() >= endAt;
    if (!isDue) starting.look();
    const alive = starting.alive();
    if (isDue) for (const { pid } of alive) kill(pid);
    if (isTold && alive.length === 0) return allEnded();
    const lost = starting.ended();
    const isFirst = lost.some(({ rank }) => rank === 0); // which `firstHasEnded` tells
    if (lost.length > 0 && !isFirst && !isTold) endAll(times.launcher, endedAtStart(namesOf(lost)));
  };
  look();
  const timers = [setInterval(look, times.look), setInterval(findMissing, times.confirm)];
  return {
    end: () => {
      for (const timer of timers) clearInterval(timer);
    },
    isReported: () => endAll(times.reported),
    firstHasEnded: () => {
      starting.look();
      const [unseen, ended] = [starting.unseen(), starting.ended()];
      const seen = [...ended, ...starting.alive()].sort((a, b) => a.rank - b.rank);
      const lost = ended.length > 0 ? ended : seen.slice(0, 1); // rank 0 may still be on its way out
      const isKnown = unseen.length === 0 && lost.length === 1; // MPICH's launcher kills all at once
      endAll(times.launcher, isKnown ? endedAtStart(namesOf(lost)) : allEndedAtStart(hostname(), unseen, seen));
    },
  };
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it has ended
  }
}
