/**
 * The ranks of a machine that have not connected to the watcher yet. Until MPI has joined them they know nothing of
 * each other, so their processes are looked up: by the command of rank 0 and the variables of its launcher.
 */
import { isAlive, isLauncherSeen, type LaunchedProcess, processesLike } from "./node-launched-processes.ts";

export interface StartingRanks {
  /** Looks for ranks that were not seen yet. */
  look(): void;
  /** Adds the process of a rank of this machine, if it is alive. */
  add(rank: number, pid: number): void;
  /** The rank has connected: its end is noticed in another way. */
  connected(rank: number): void;
  /** Ranks whose process was seen and has ended. */
  ended(): readonly StartedRank[];
  /** Processes of ranks that were seen and have not ended. */
  alive(): readonly StartedRank[];
  /** Ranks that were not seen: they have not started, have ended early, or run on other machines. */
  unseen(): readonly number[];
  /**
   * Of the ranks that the launcher started on this machine, those without any process, not even that of a wrapper: some
   * of `unseen`. Empty where that cannot be known.
   */
  missing(): MissingRanks;
}

export interface StartedRank {
  readonly rank: number;
  readonly pid: number;
}

export interface MissingRanks {
  readonly count: number;
  /** The number of ranks that the launcher started on this machine. */
  readonly of: number;
  /** Which they are; undefined if some ranks run on other machines. */
  readonly ranks?: readonly number[];
}

/** `own` is the process of rank 0, which may have ended meanwhile. */
export function startingRanks(own: LaunchedProcess | undefined): StartingRanks {
  const seen = new Map<number, number>(own ? [[own.launch.rank, own.pid]] : []);
  const gone = new Set<number>();
  const add: StartingRanks["add"] = (rank, pid) => {
    if (!seen.has(rank) && isAlive(pid)) seen.set(rank, pid);
  };
  const started = () => [...seen].map(([rank, pid]) => ({ rank, pid })).filter(({ rank }) => !gone.has(rank));
  return {
    look: () => {
      if (!own || seen.size === own.launch.size) return;
      for (const { pid, launch } of processesLike(own, own.command)) add(launch.rank, pid);
    },
    add,
    connected: (rank) => void gone.add(rank),
    ended: () => started().filter(({ pid }) => !isAlive(pid)),
    alive: () => started().filter(({ pid }) => isAlive(pid)),
    unseen: () => Array.from({ length: own?.launch.size ?? 0 }, (_, rank) => rank).filter((rank) => !seen.has(rank)),
    missing: () => {
      const { size, onMachine } = own?.launch ?? { size: 0 };
      if (!own || onMachine === undefined || !isLauncherSeen(own)) return { count: 0, of: 0 };
      const here = new Set([...seen.keys(), ...processesLike(own).map(({ launch }) => launch.rank)]);
      const ranks = Array.from({ length: size }, (_, rank) => rank).filter((rank) => !here.has(rank));
      return { count: Math.max(0, onMachine - here.size), of: onMachine, ...(onMachine === size && { ranks }) };
    },
  };
}
