/** Renders images on worker threads, so that decoding never blocks the thread that feeds the device. */
import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { FileError, HeddleError, type ImageSize, sidesOf } from "../../compiler/index.ts";
import type { ImageOptions, Rendered, RenderJob } from "./render.ts";
import { localRenderer, type Renderer } from "./renderer.ts";

export interface Question {
  readonly id: number;
  readonly job: RenderJob;
}

export type Answer =
  | { readonly id: number; readonly rendered: Rendered }
  | { readonly id: number; readonly fault: string };

/**
 * A worker's first message, after about a second of loading code; until then, images are rendered on the calling
 * thread.
 */
export const ready = "ready";

/** A worker ended: the samples are fine, so none of them is skipped because of it. */
export class DecodingError extends HeddleError {}

/**
 * Up to this image side and this many cores, a worker costs more CPU time than it saves the thread that feeds the
 * device.
 */
const small = { side: 64, cores: 2 };

/** Default number of workers for an image size: one core is left for the thread that feeds the device. */
export function usualWorkers(size: ImageSize, cores: number): number {
  const { width, height } = sidesOf(size);
  const isSmall = Math.max(width, height) <= small.side;
  return cores <= small.cores && isSmall ? 0 : Math.max(1, cores - 1);
}

/** A worker decodes one image while the bytes of the next are being read. */
const jobsEach = 2;

/**
 * `workers` threads, started with the first image; 0 renders on the calling thread, which also does so until workers
 * are ready. The result is bit-identical for any number. When a worker ends, every image, pending or later, fails with
 * the same DecodingError.
 */
export function renderer(
  options: ImageOptions,
  workers = usualWorkers(options.size, availableParallelism()),
): Renderer {
  const here = localRenderer(options);
  if (workers === 0) return here;
  const threads: Thread[] = [];
  const waiting = new Map<number, { thread: Thread; resolve: (r: Rendered) => void; reject: (e: Error) => void }>();
  let ids = 0;
  let failure: Error | undefined;
  const fail = (why: string) => {
    failure ??= new DecodingError(
      `an image decoding thread ended: ${why}; saved checkpoints are kept, and a run that is resumed (--resume) continues from there`,
    );
    for (const { reject } of waiting.values()) reject(failure);
    waiting.clear();
    for (const { worker } of threads.splice(0)) void worker.terminate();
  };
  const answer = (found: Answer) => {
    const asked = waiting.get(found.id);
    if (!asked) return; // abandoned
    waiting.delete(found.id);
    asked.thread.underWay -= 1;
    if ("rendered" in found) asked.resolve(found.rendered);
    else asked.reject(new FileError(found.fault));
  };
  const start = () => {
    const worker = new Worker(new URL(`./render-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: options,
    });
    const thread: Thread = { worker, underWay: 0, isReady: false, send: grouped((jobs) => worker.postMessage(jobs)) };
    worker.on("message", (said: typeof ready | readonly Answer[]) => {
      if (said === ready) thread.isReady = true;
      else said.forEach(answer);
    });
    worker.on("error", (error) => fail(error.message));
    worker.on("exit", (status) => fail(`it ended with status ${status}`));
    return thread;
  };
  return {
    concurrency: jobsEach * workers,
    render: (job) => {
      if (failure) return Promise.reject(failure);
      while (threads.length < workers) threads.push(start());
      const free = threads.filter(({ isReady }) => isReady);
      if (free.length === 0) return here.render(job);
      const thread = free.reduce((least, one) => (one.underWay < least.underWay ? one : least));
      const id = ids++;
      thread.underWay += 1;
      return new Promise((resolve, reject) => {
        waiting.set(id, { thread, resolve, reject });
        thread.send({ id, job });
      });
    },
    async dispose() {
      failure ??= new DecodingError("the data was closed while images were being decoded");
      const ending = threads.map(({ worker }) => worker.terminate());
      fail("");
      await Promise.all(ending);
    },
  };
}

interface Thread {
  readonly worker: Worker;
  underWay: number;
  isReady: boolean;
  readonly send: (question: Question) => void;
}

/**
 * Batches the values of one turn of the event loop into one message, since a message costs as much as a small image.
 */
export function grouped<T>(handOn: (values: readonly T[]) => void): (value: T) => void {
  let values: T[] = [];
  return (value) => {
    if (values.push(value) > 1) return;
    setImmediate(() => {
      const all = values;
      values = [];
      handOn(all);
    });
  };
}
