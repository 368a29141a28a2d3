/**
 * The processes of this machine that a launcher has started as ranks, as /proc shows them; none where there is no
 * /proc.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { type Launch, launchIn } from "./launch-variables.ts";

export interface LaunchedProcess {
  readonly pid: number;
  readonly command: string;
  /** What distinguishes this launch from others of the same command. */
  readonly job: string;
  readonly launch: Launch;
}

/** Undefined for a process that has ended, belongs to another user, or is no rank. */
export function launchedProcess(pid: number): LaunchedProcess | undefined {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
    const environment = Object.fromEntries(entries.map((entry) => entry.split("=", 2)));
    const launch = launchIn(environment);
    if (launch === undefined || typeof launch === "string") return undefined;
    return { pid, command: commandOf(pid), job: jobOf(pid, environment, launch), launch };
  } catch {
    return undefined;
  }
}

/**
 * The processes of the same launch, wrappers such as a shell or npx included. With a command, only those that run
 * exactly this one.
 */
export function processesLike(own: LaunchedProcess, command?: string): LaunchedProcess[] {
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) return [];
    try {
      if (command !== undefined && commandOf(pid) !== command) return [];
    } catch {
      return [];
    }
    const found = launchedProcess(pid);
    return found && isSameLaunch(found, own) ? [found] : [];
  });
}

/**
 * Whether the process that started the ranks of this machine is among those to be seen. Otherwise ranks may have
 * process numbers of their own, as in containers, and one that is not seen has not ended.
 */
export function isLauncherSeen(own: LaunchedProcess): boolean {
  try {
    let { pid } = own;
    for (;;) {
      pid = Number(statOf(pid).parent);
      const above = launchedProcess(pid);
      if (!above || !isSameLaunch(above, own)) return pid > 0 && existsSync(`/proc/${pid}/stat`);
    }
  } catch {
    return false;
  }
}

/** A process whose parent has not noticed its end is a zombie: it counts as ended. */
export function isAlive(pid: number): boolean {
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

const isSameLaunch = (a: LaunchedProcess, b: LaunchedProcess): boolean =>
  a.job === b.job && a.launch.size === b.launch.size;

const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, "latin1");

/**
 * The launcher's number for it. MPICH's has none, and starts each rank in a session of its own: the one who started
 * that, since several may run in one step of Slurm. A session whose first process has ended, or is outside of this
 * container (session 0), is known by its number alone.
 */
function jobOf(pid: number, environment: Readonly<Record<string, string>>, { vendor }: Launch): string {
  const { PMIX_NAMESPACE, SLURM_JOB_ID, SLURM_STEP_ID } = environment;
  if (PMIX_NAMESPACE) return PMIX_NAMESPACE;
  if (SLURM_JOB_ID && vendor !== "mpich") return `${SLURM_JOB_ID}.${SLURM_STEP_ID}`;
  const { session } = statOf(pid);
  return existsSync(`/proc/${session}/stat`) ? `started by ${statOf(session).parent}` : `session ${session}`;
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
