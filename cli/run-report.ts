/** Collects a run's report while `heddle train` runs, and writes the page when it ends, however it ends. */

import { inspect } from "node:util";
import { versions } from "../api/node-index.ts";
import {
  hasSteps,
  type JobFile,
  jobFacts,
  type Ranks,
  type TrainingJob,
  writeEnd,
  writeRunReport,
  writeStart,
} from "../runtime/index.ts";
import type { ChosenDevice } from "./device.ts";
import { readableFault } from "./readable-fault.ts";

export interface ReportedRun {
  readonly folder: string;
  readonly file: Pick<JobFile, "name" | "summary">;
  readonly job: TrainingJob;
  readonly device: ChosenDevice;
  readonly note: (text: string) => void;
  readonly ranks: Ranks;
  /** Remarks on how the run ended, once known. */
  readonly remarks: readonly string[];
}

/** Runs the work and returns its exit status. Problems with the report are printed and do not fail the run. */
export async function reported(
  { folder, file, job, device, note, ranks, remarks }: ReportedRun,
  work: () => Promise<number>,
): Promise<number> {
  const { size, carrier } = ranks.collectives;
  const among = size > 1 ? [{ label: "Ranks", value: String(size), note: `over ${carrier}` }] : [];
  const facts = [...jobFacts(job), ...among];
  const about = { job: file.name, summary: file.summary, seed: job.seed, steps: job.steps, facts };
  await telling(note, () =>
    writeStart(folder, about, {
      at: new Date().toISOString(),
      command: ["heddle", ...process.argv.slice(2)],
      versions: versions(),
      device: device.backend.device.name,
      deviceReason: device.reason,
    }),
  );
  const end = (how: string) =>
    telling(note, async () => {
      await writeEnd(folder, how);
      note(`report: ${await writeRunReport(folder)}`);
    });
  let status: number;
  try {
    status = await work();
  } catch (thrown) {
    const error = readableFault(thrown);
    if (await hasSteps(folder))
      await end(`ended by an error: ${(error instanceof Error ? error.message : inspect(error)).split("\n")[0]}`);
    throw error;
  }
  await end([status === 0 ? "finished" : "stopped", ...remarks].join("; "));
  return status;
}

async function telling(note: (text: string) => void, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    note(`the report was not written: ${error instanceof Error ? error.message : String(error)}`);
  }
}
