/** Training in a page: the command line's loop, on the browser's device, with its run in OPFS. */

import { webgpuBackend } from "../../../backends/webgpu/index.ts";
import { requestBrowserDevice } from "../../../backends/webgpu/runtime/browser-device.ts";
import { lockRunFolder, useFileSystem } from "../../../runtime/host/browser.ts";
import { opfsFileSystem } from "../../../runtime/host/opfs-file-system.ts";
import { train as trainJob } from "../../../runtime/index.ts";
import { tinyJob } from "../../support/tiny-job.ts";
import { smallJob } from "../small-job.ts";

const jobs = { tiny: tinyJob, small: smallJob } as const;
type JobName = keyof typeof jobs;

const backend = requestBrowserDevice().then((gpu) => webgpuBackend(gpu));

/** Steps of which this page has begun to read the batch. */
let begun = 0;

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

/** Takes the folder of the small job, as long as this page is open. */
export const hold = async (): Promise<void> => void (await lockRunFolder("/runs/small"));

/** The folders that windows of this site have taken. */
export const taken = async (): Promise<unknown> => ((await navigator.locks.query()).held ?? []).map((l) => l.name);

export const stepsBegun = (): number => begun;

/** The error of a run, or "none". */
export const failure = (steps: number): Promise<string> =>
  train("small", steps, { resume: true }).then(
    () => "none",
    (error: Error) => `${error.name}: ${error.message}`,
  );
