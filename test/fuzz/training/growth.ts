/** Whether a training run leaks: memory, device buffers, open files, handles. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Backend } from "../../../backends/backend.ts";
import { train } from "../../../runtime/index.ts";
import { heldBytes } from "./held-bytes.ts";
import job from "./job.ts";

export interface GrowthOptions {
  readonly backend: Backend;
  readonly steps: number;
  readonly tell: (text: string) => void;
}

/** Numbers that must not grow, sampled between steps after a garbage collection. */
interface Sample {
  readonly step: number;
  readonly heapMiB: number;
  readonly arraysMiB: number;
  readonly residentMiB: number;
  readonly deviceMiB: number;
  readonly files: number;
  readonly handles: number;
}

/**
 * How much a number may grow from the second quarter of a run to the last: what allocators retain varies. Each quarter
 * counts with its smallest sample: what is in flight when a sample is taken (a write, a timer, a message to a worker)
 * ends, while a leak stays in all later samples.
 */
const slack: Readonly<Record<Exclude<keyof Sample, "step">, number>> = {
  heapMiB: 2,
  arraysMiB: 0.5,
  residentMiB: 48,
  deviceMiB: 0,
  files: 0,
  handles: 0,
};

const samples = 40;

/** What grew, one line per number. */
export async function growthOf({ backend, steps, tell }: GrowthOptions): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-growth-"));
  const taken: Sample[] = [];
  const every = Math.ceil(steps / samples);
  const built = await job.build({ steps, checkpointEvery: 2 * every, delay: 0, validate: true });
  const validate = {
    ...built.validate!,
    every,
    run: async (run: Parameters<NonNullable<typeof built.validate>["run"]>[0]) => {
      const figures = await built.validate!.run(run);
      taken.push(sampled(run.step, backend));
      return figures;
    },
  };
  try {
    await train({ ...built, validate }, { folder, backend, note: () => {} });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const quarter = Math.floor(taken.length / 4);
  const [early, late] = [taken.slice(quarter, 2 * quarter), taken.slice(-quarter)];
  for (const sample of [early[0], late.at(-1)]) tell(JSON.stringify(sample));
  return Object.entries(slack).flatMap(([name, most]) => {
    const least = (of: readonly Sample[]) => Math.min(...of.map((s) => s[name as keyof Sample]));
    const grown = least(late) - least(early);
    return grown > most ? [`${name} grew by ${grown}, from ${least(early)}, in half of ${steps} steps`] : [];
  });
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function sampled(step: number, backend: Backend): Sample {
  collect();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 10) / 2 ** 10;
  return {
    step,
    heapMiB: mebibytes(heapUsed),
    arraysMiB: mebibytes(arrayBuffers),
    residentMiB: mebibytes(rss),
    deviceMiB: mebibytes(heldBytes(backend)),
    files: readdirSync("/proc/self/fd").length,
    handles: process.getActiveResourcesInfo().length,
  };
}
