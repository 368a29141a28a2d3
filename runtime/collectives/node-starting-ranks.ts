/**
 * The ranks of a machine that have not connected to the watcher yet. Until MPI has joined them they know nothing of each
 * other, so their processes are looked up in /proc: by the command of rank 0 and the variables of its launcher. Where
 * there is no /proc, nothing is found.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { type Launch, launchOf } from "./launch.ts";

export interface StartingRanks {
  /** Looks for ranks that were not seen yet. */
  look(): void;
  /** Adds the process of a rank of this machine, if it is alive. */
  add(rank: number, pid: number): void;
  /** The rank has connected: its end is noticed in another way. */
  connected(rank: number): void;
  /** Ranks whose process was seen and has ended. */
  ended(): readonly StartedRank[];
  /** Ranks that were not seen: they have not started, have ended early, or run on other machines. */
  unseen(): readonly number[];
}

export interface StartedRank {
  readonly rank: number;
  readonly pid: number;
}

/** `first` is the process of rank 0. */
export function startingRanks(first: number): StartingRanks {
  const own = launchedProcess(first);
  const seen = new Map<number, number>(own ? [[own.launch.rank, first]] : []);
  const gone = new Set<number>();
  const add: StartingRanks["add"] = (rank, pid) => {
    if (!seen.has(rank) && isAlive(pid)) seen.set(rank, pid);
  };
  return {
    look: () => {
      if (!own || seen.size === own.launch.size) return;
      for (const entry of readdirSync("/proc")) {
        const pid = Number(entry);
        const found = Number.isInteger(pid) ? launchedProcess(pid, own) : undefined;
        if (found) add(found.launch.rank, pid);
      }
    },
    add,
    connected: (rank) => void gone.add(rank),
    ended: () => [...seen].flatMap(([rank, pid]) => (gone.has(rank) || isAlive(pid) ? [] : [{ rank, pid }])),
    unseen: () => Array.from({ length: own?.launch.size ?? 0 }, (_, rank) => rank).filter((rank) => !seen.has(rank)),
  };
}

interface LaunchedProcess {
  readonly command: string;
  /** What distinguishes this launch from others of the same command. */
  readonly job: string;
  readonly launch: Launch;
}

/** Undefined for a process that has ended, is no rank, or, with `like`, is none of that one's launch. */
function launchedProcess(pid: number, like?: LaunchedProcess): LaunchedProcess | undefined {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, "latin1");
    if (like && command !== like.command) return undefined;
    const entries = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
    const environment = Object.fromEntries(entries.map((entry) => entry.split("=", 2)));
    const launch = launchOf(environment);
    if (!launch) return undefined;
    const found = { command, job: jobOf(pid, environment), launch };
    return !like || (found.job === like.job && launch.size === like.launch.size) ? found : undefined;
  } catch {
    return undefined; // it has ended, or is another user's
  }
}

/**
 * The launcher's number for it. MPICH's has none, and starts each rank in a session of its own: the one who started that.
 * A session whose first process has ended, or is outside of this container (session 0), is known by its number alone.
 */
function jobOf(pid: number, environment: Readonly<Record<string, string>>): string {
  const { PMIX_NAMESPACE, SLURM_JOB_ID, SLURM_STEP_ID } = environment;
  if (PMIX_NAMESPACE) return PMIX_NAMESPACE;
  if (SLURM_JOB_ID) return `${SLURM_JOB_ID}.${SLURM_STEP_ID}`;
  const { session } = statOf(pid);
  return existsSync(`/proc/${session}/stat`) ? `started by ${statOf(session).parent}` : `session ${session}`;
}

/** A process whose parent has not noticed its end is a zombie: it counts as ended. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  try {
    return !/[ZX]/.test(statOf(pid).state);
  } catch {
    return process.platform !== "linux";
  }
}

function statOf(pid: number | string) {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const [state, parent, , session] = text.slice(text.lastIndexOf(")") + 2).split(" ") as [
    string,
    string,
    string,
    string,
  ];
  return { state, parent, session };
}
