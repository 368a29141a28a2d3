/** Training in a page: the command line's loop, on the browser's device, with its run in OPFS. */

import { webgpuBackend } from "../../../backends/webgpu/index.ts";
import { requestBrowserDevice } from "../../../backends/webgpu/runtime/browser-device.ts";
import { lockRunFolder, useFileSystem } from "../../../runtime/host/browser.ts";
import { opfsFileSystem } from "../../../runtime/host/opfs-file-system.ts";
import { loadNewestCheckpoint, train as trainJob } from "../../../runtime/index.ts";
import { type JobName, jobs } from "../jobs.ts";

const open = async () => webgpuBackend(await requestBrowserDevice());
let backend = open();

/** Opens another device in place of a lost one. */
export async function reopen(): Promise<void> {
  (await backend).dispose();
  backend = open();
  await backend;
}

/** Step of which this page read the batch last, and how many it has read. */
let begun = 0;
let read = 0;

/** Memory after a step: the page's own, swept, and the device's buffers. */
interface Sample {
  readonly step: number;
  readonly heap: number;
  readonly device: number;
}

/** Trains to a step and gives the losses of the whole run, with samples of memory at some of its steps. */
export async function train(name: JobName, steps: number, { resume = false, sampleAt = [] as number[] } = {}) {
  const fs = await opfsFileSystem();
  useFileSystem(fs);
  const folder = `/runs/${name}`;
  await fs.mkdir(folder);
  const lock = await lockRunFolder(folder);
  const own = await backend;
  const samples: Sample[] = [];
  const job = jobs[name](steps);
  const batches: typeof job.batches = async function* (cursor, note) {
    for await (const batch of job.batches(cursor, note)) {
      begun = batch.next as number;
      read++;
      if (sampleAt.includes(begun)) samples.push({ step: begun, ...memory(own) });
      yield batch;
    }
  };
  try {
    const { losses } = await trainJob({ ...job, batches }, { folder, backend: own, resume, note: () => {} });
    return { losses, samples };
  } finally {
    await lock.dispose();
  }
}

/** Sweeps, and says what is left. The browser is started with what these need. */
function memory(own: Awaited<typeof backend>): Omit<Sample, "step"> {
  const page = globalThis as unknown as { gc(): void; performance: { memory: { usedJSHeapSize: number } } };
  page.gc();
  const device = [...own.gpu.memory.heldBytes().values()].reduce((sum, bytes) => sum + bytes, 0);
  return { heap: page.performance.memory.usedJSHeapSize, device };
}

/** Takes the folder of the job of one layer, as long as this page is open. */
export const hold = async (): Promise<void> => void (await lockRunFolder("/runs/layer"));

/** The folders that windows of this site have taken. */
export const taken = async (): Promise<unknown> => ((await navigator.locks.query()).held ?? []).map((l) => l.name);

export const stepsBegun = (): number => begun;
export const stepsRead = (): number => read;

/** The step that the job of one layer goes on after. */
export async function newestCheckpoint(): Promise<number> {
  const found = await loadNewestCheckpoint("/runs/layer/checkpoints", () => {}, { fs: await opfsFileSystem() });
  await found!.dispose();
  return found!.step;
}

/** The error of a run, or "none". */
export const failure = (steps: number): Promise<string> =>
  train("layer", steps, { resume: true }).then(
    () => "none",
    (error: Error) => `${error.name}: ${error.message}`,
  );
