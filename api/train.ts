/** Training: a job as on the command line, or a stage with batches, by the same loop. */
import { join, lockRunFolder, resolve } from "#host";
import { type HostTensor, UsageError } from "../compiler/index.ts";
import {
  type FinishedStage,
  hasBegun,
  hasCheckpoints,
  keepRunStep,
  type LossPoint,
  makeFolder,
  readRunSettings,
  tidyRunFolder,
  trainInStages,
  writeRunSettings,
} from "../runtime/index.ts";
import { type Device, onDevice, requireDevice } from "./device.ts";
import { kinds, type OptionTable, requireOptions } from "./options.ts";
import { type JobSettings, jobOf, nameOf, requireTrainable, type Trainable } from "./trainable.ts";
import { load } from "./weights.ts";

/** Options of `train`. */
export interface TrainOptions<C extends JobSettings = JobSettings> {
  readonly device: Device;
  /**
   * Folder for checkpoints, logs and weights; default `runs/` and the name of the job or stage. If it holds a run, that
   * is resumed from its newest checkpoint. In a page it is a folder of `useFileSystem`.
   */
  readonly folder?: string;
  /** Overrides of a job file's settings. */
  readonly settings?: Partial<C>;
  /** Stops the run after the current step, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** Called with the metrics of each step by name, `loss` among them, up to a few steps after it was submitted. */
  readonly onStep?: (step: number, figures: Readonly<Record<string, number>>) => void;
  /** Called with messages. */
  readonly onNote?: (text: string) => void;
}

/** The result of training. */
export interface Trained {
  readonly folder: string;
  /** Completed steps of the last stage. */
  readonly steps: number;
  /** True if the signal stopped it: the same call resumes it. */
  readonly stopped: boolean;
  /** Losses of the last stage, from its first step; those of a stopped run are in its folder. */
  readonly losses: readonly LossPoint[];
  /** All parameters by name, frozen ones included; empty if the run was stopped. */
  readonly weights: ReadonlyMap<string, HostTensor>;
}

const trainOptions: OptionTable<TrainOptions> = {
  device: { is: () => true, needed: "a device" }, // requireDevice gives a better message
  folder: kinds.text,
  settings: kinds.settings,
  signal: kinds.signal,
  onStep: kinds.callback,
  onNote: kinds.callback,
};

/**
 * Trains to the last step, or until the signal. After a kill or stop, the same call with the same folder resumes and
 * reaches the same weights; it may then change the number of steps and of steps between checkpoints. Throws UsageError
 * if the folder's run has another model, loss, optimizer, seed or sizes, and if the loss or the gradient is no longer
 * finite; FileError if nothing can be written. Saved checkpoints stay intact.
 */
export async function train<C extends JobSettings>(what: Trainable<C>, options: TrainOptions<C>): Promise<Trained> {
  requireOptions<TrainOptions>("train", options, trainOptions);
  requireDevice(options.device);
  requireTrainable(what);
  const folder = options.folder ?? join("runs", nameOf(what));
  await makeFolder(folder);
  const lock = await lockRunFolder(resolve(folder));
  try {
    await tidyRunFolder(folder);
    return await trainIn(folder, what, options);
  } finally {
    await lock.dispose();
  }
}

/** Trains in a folder that this process has locked. */
async function trainIn<C extends JobSettings>(
  folder: string,
  what: Trainable<C>,
  { device, settings: given, signal, onStep, onNote: note = () => {} }: TrainOptions<C>,
): Promise<Trained> {
  const goesOn = await hasCheckpoints(folder);
  const built = await jobOf(what, given, goesOn ? await readRunSettings(folder) : undefined, note);
  const { job, settings } = built;
  try {
    await keepRunStep(folder, job, { isJudged: goesOn && !built.isChanged });
    if (settings) await writeRunSettings(folder, nameOf(what), settings);
    const run = {
      folder,
      backend: device,
      deviceReason: device.reason,
      resume: await hasBegun(folder),
      quiet: true,
      note,
    };
    const result = await onDevice(device, (closing) =>
      trainInStages(job, {
        ...run,
        signal: signal ? AbortSignal.any([signal, closing]) : closing,
        ...(onStep && { onStep }),
      }),
    );
    if (result.stopped && !signal?.aborted) {
      const { steps, of } = result;
      const when = steps === 0 ? "before its first step" : `after step ${steps} of ${of}, which is saved`;
      throw new UsageError(`the device was disposed ${when}: make the same call on another device to continue`);
    }
    if (result.stopped) return { folder, steps: result.steps, stopped: true, losses: [], weights: new Map() };
    return await finished(result.stages.at(-1)!, folder);
  } finally {
    await job.dispose?.();
  }
}

async function finished({ steps, losses, folder: at }: FinishedStage, folder: string): Promise<Trained> {
  const file = await load(join(at, "model.safetensors"));
  try {
    const weights = new Map<string, HostTensor>();
    for (const name of file.tensors.keys()) weights.set(name, await file.read(name));
    return { folder, steps, stopped: false, losses, weights };
  } finally {
    await file.dispose();
  }
}
