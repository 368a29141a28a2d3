/** Detects, from the environment, whether a launcher started this process as one of several. */
import { UsageError } from "../../compiler/index.ts";

export interface Launch {
  /** The launcher, for display. */
  readonly launcher: string;
  readonly rank: number;
  readonly size: number;
  /** The MPI library that works with this launcher; undefined when either does. */
  readonly vendor?: Vendor;
  /** The library to try first when either works. */
  readonly prefers?: Vendor;
}

export type Vendor = "openmpi" | "mpich";

interface LauncherRecord extends Pick<Launch, "launcher" | "vendor" | "prefers"> {
  /** Environment variables that pass the number of processes and the rank. */
  readonly size: string;
  readonly rank: string;
  /** A variable that only this launcher sets, if others set the two above. */
  readonly sign?: string;
}

const hydra = { launcher: "mpiexec of MPICH", size: "PMI_SIZE", rank: "PMI_RANK", vendor: "mpich" } as const;
const srun = { launcher: "srun", size: "SLURM_STEP_NUM_TASKS", rank: "SLURM_PROCID" } as const;

/**
 * In the order to ask. Within a Slurm allocation the mpiexec of MPICH runs on top of srun, whose variables then count
 * machines; but srun --mpi=pmi2 sets the PMI variables too, so those alone come last. A batch script has none of these:
 * only srun starts steps of several tasks.
 */
const launchers: readonly LauncherRecord[] = [
  { launcher: "mpirun of Open MPI", size: "OMPI_COMM_WORLD_SIZE", rank: "OMPI_COMM_WORLD_RANK", vendor: "openmpi" },
  { ...hydra, sign: "MPI_LOCALNRANKS" },
  { ...srun, sign: "PMIX_RANK", prefers: "openmpi" },
  { ...srun, sign: "PMI_RANK", prefers: "mpich" },
  srun,
  hydra,
];

/** Undefined for a single process. */
export function launchOf(environment: Readonly<Record<string, string | undefined>>): Launch | undefined {
  for (const { size, rank, sign = size, ...who } of launchers) {
    const [count, place] = [environment[size], environment[rank]].map(Number) as [number, number];
    if (!environment[size] || !environment[sign]) continue;
    if (!Number.isSafeInteger(count) || !Number.isSafeInteger(place) || place < 0 || place >= count)
      throw new UsageError(
        `${size}=${environment[size]} and ${rank}=${environment[rank]} are not a valid world size and rank`,
      );
    return count > 1 ? { ...who, rank: place, size: count } : undefined;
  }
  return undefined;
}
