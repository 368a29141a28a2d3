/** Whether a launcher started this process as one of several, as its environment says. */
import { UsageError } from "../../compiler/index.ts";

export interface Launch {
  /** Which launcher, for people. */
  readonly launcher: string;
  readonly rank: number;
  readonly size: number;
  /** Whose library can speak with it; either where undefined. */
  readonly vendor?: "openmpi" | "mpich";
}

/** Variables in which launchers say how many processes they started, and which this is. */
const launchers = [
  { launcher: "mpirun of Open MPI", size: "OMPI_COMM_WORLD_SIZE", rank: "OMPI_COMM_WORLD_RANK", vendor: "openmpi" },
  // srun sets those of PMI too. A batch script has none of these: only what srun starts is a step of several tasks.
  { launcher: "srun", size: "SLURM_STEP_NUM_TASKS", rank: "SLURM_PROCID" },
  { launcher: "mpiexec of MPICH", size: "PMI_SIZE", rank: "PMI_RANK", vendor: "mpich" },
] as const;

/** Undefined where this process is alone. */
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
