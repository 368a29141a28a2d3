/** Detects, from the environment, whether a launcher started a process as one of several. */

export interface Launch {
  /** The launcher, for display. */
  readonly launcher: string;
  readonly rank: number;
  readonly size: number;
  /** The MPI library that works with this launcher; undefined when either does. */
  readonly vendor?: Vendor;
  /** The library to try first when either works. */
  readonly prefers?: Vendor;
  /** The number of ranks on this machine, if the launcher says. */
  readonly onMachine?: number;
  /** What to try if MPI cannot join the ranks. */
  readonly hint?: string;
}

export type Vendor = "openmpi" | "mpich";

export type Environment = Readonly<Record<string, string | undefined>>;

interface LauncherRecord extends Pick<Launch, "launcher" | "vendor" | "prefers" | "hint"> {
  /** Environment variables that pass the number of processes and the rank. */
  readonly size: string;
  readonly rank: string;
  /** Reads the number of processes on this machine. */
  readonly onMachine: (environment: Environment) => string | undefined;
  /** A variable that only this launcher sets, if others set the two above. */
  readonly sign?: string;
}

const openMpi = {
  launcher: "mpirun of Open MPI",
  size: "OMPI_COMM_WORLD_SIZE",
  rank: "OMPI_COMM_WORLD_RANK",
  vendor: "openmpi",
  onMachine: ({ OMPI_COMM_WORLD_LOCAL_SIZE }) => OMPI_COMM_WORLD_LOCAL_SIZE,
} as const satisfies LauncherRecord;
const hydra = {
  launcher: "mpiexec of MPICH",
  size: "PMI_SIZE",
  rank: "PMI_RANK",
  vendor: "mpich",
  onMachine: ({ MPI_LOCALNRANKS }) => MPI_LOCALNRANKS,
} as const satisfies LauncherRecord;
const srun = {
  launcher: "srun",
  size: "SLURM_STEP_NUM_TASKS",
  rank: "SLURM_PROCID",
  onMachine: ({ SLURM_STEP_TASKS_PER_NODE, SLURM_NODEID }) =>
    tasksOfNode(SLURM_STEP_TASKS_PER_NODE ?? "", Number(SLURM_NODEID)),
} as const satisfies LauncherRecord;

/**
 * In the order to ask. Within a Slurm allocation the mpiexec of MPICH runs on top of srun, whose variables then count
 * machines; but srun --mpi=pmi2 sets the PMI variables too, so those alone come last. A batch script has none of these:
 * only srun starts steps of several tasks.
 */
const launchers: readonly LauncherRecord[] = [
  openMpi,
  { ...hydra, sign: "MPI_LOCALNRANKS" },
  { ...srun, sign: "PMIX_RANK", prefers: "openmpi" },
  { ...srun, sign: "PMI_RANK", prefers: "mpich" },
  { ...srun, hint: "add --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH) to srun, which was started without either" },
  hydra,
];

/** Undefined for a single process; a text for what is wrong with the variables. */
export function launchIn(environment: Environment): Launch | string | undefined {
  for (const { size, rank, sign = size, onMachine, ...who } of launchers) {
    const [count, place] = [environment[size], environment[rank]].map(Number) as [number, number];
    if (!environment[size] || !environment[sign]) continue;
    if (!Number.isSafeInteger(count) || !Number.isSafeInteger(place) || place < 0 || place >= count)
      return `${size}=${environment[size]} and ${rank}=${environment[rank]} are not a valid world size and rank`;
    const here = Number(onMachine(environment));
    const known = Number.isSafeInteger(here) && here > 0 && here <= count;
    return count > 1 ? { ...who, rank: place, size: count, ...(known && { onMachine: here }) } : undefined;
  }
  return undefined;
}

/**
 * What Slurm says of node number `node`: "2(x3),1" is 2 tasks on each of the first three nodes, and 1 on the fourth.
 */
function tasksOfNode(text: string, node: number): string | undefined {
  let end = 0;
  for (const part of text.split(",")) {
    const [, count, times = "1"] = /^(\d+)(?:\(x(\d+)\))?$/.exec(part) ?? [];
    if (count === undefined) continue;
    end += Number(times);
    if (node < end) return count;
  }
  return undefined;
}
