/** Detects, from the environment, whether a launcher started this process as one of several. */
import { UsageError } from "../../compiler/index.ts";

export interface Launch {
  /** The launcher, for display. */
  readonly launcher: string;
  readonly rank: number;
  readonly size: number;
  /** The MPI library that works with this launcher; undefined when either does. */
  readonly vendor?: "openmpi" | "mpich";
}

/** Environment variables in which launchers pass the number of processes and the rank. */
const launchers = [
  { launcher: "mpirun of Open MPI", size: "OMPI_COMM_WORLD_SIZE", rank: "OMPI_COMM_WORLD_RANK", vendor: "openmpi" },
  // srun sets the PMI variables too, so it comes first. A batch script has none of these: only srun starts steps of
  // several tasks.
  { launcher: "srun", size: "SLURM_STEP_NUM_TASKS", rank: "SLURM_PROCID" },
  { launcher: "mpiexec of MPICH", size: "PMI_SIZE", rank: "PMI_RANK", vendor: "mpich" },
] as const;

/** Undefined for a single process. */
export function launchOf(environment: Readonly<Record<string, string | undefined>>): Launch | undefined {
  for (const { size, rank, ...who } of launchers) {
    const [count, place] = [environment[size], environment[rank]].map(Number) as [number, number];
    if (!environment[size]) continue;
    if (!Number.isSafeInteger(count) || !Number.isSafeInteger(place) || place < 0 || place >= count)
      throw new UsageError(
        `${size}=${environment[size]} and ${rank}=${environment[rank]} say no rank of a number of them`,
      );
    return count > 1 ? { ...who, rank: place, size: count } : undefined;
  }
  return undefined;
}
