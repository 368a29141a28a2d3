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
export const renderer = (
  options: ImageOptions,
  workers = usualWorkers(options.size, availableParallelism()),
): Renderer => (workers === 0 ? localRenderer(options) : new ThreadedRenderer(options, workers));

/** An image that a thread is decoding. */
interface Pending {
  readonly thread: Thread;
  readonly resolve: (rendered: Rendered) => void;
  readonly reject: (error: Error) => void;
}

class ThreadedRenderer implements Renderer {
  readonly concurrency: number;
  readonly #options: ImageOptions;
  readonly #workers: number;
  readonly #here: Renderer;
  readonly #threads: Thread[] = [];
  readonly #pending = new Map<number, Pending>();
  #ids = 0;
  #failure: Error | undefined;

  constructor(options: ImageOptions, workers: number) {
    this.concurrency = jobsEach * workers;
    this.#options = options;
    this.#workers = workers;
    this.#here = localRenderer(options);
  }

  render: Renderer["render"] = (job) => {
    if (this.#failure) return Promise.reject(this.#failure);
    while (this.#threads.length < this.#workers) this.#threads.push(this.#start());
    const free = this.#threads.filter(({ isReady }) => isReady);
    if (free.length === 0) return this.#here.render(job);
    const thread = free.reduce((least, one) => (one.underWay < least.underWay ? one : least));
    const id = this.#ids++;
    thread.underWay += 1;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { thread, resolve, reject });
      thread.send({ id, job });
    });
  };

  dispose = async (): Promise<void> => {
    const ending = this.#threads.map(({ worker }) => worker.terminate());
    this.#fail(new DecodingError("the data was closed while images were being decoded"));
    await Promise.all(ending);
  };

  #start(): Thread {
    const worker = new Worker(new URL(`./render-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: this.#options,
    });
    const thread: Thread = { worker, underWay: 0, isReady: false, send: grouped((jobs) => worker.postMessage(jobs)) };
    worker.on("message", (said: typeof ready | readonly Answer[]) => {
      if (said === ready) thread.isReady = true;
      else for (const answer of said) this.#answer(answer);
    });
    worker.on("error", (error) => this.#fail(threadEnded(error.message)));
    worker.on("exit", (status) => this.#fail(threadEnded(`it ended with status ${status}`)));
    return thread;
  }

  #answer(found: Answer): void {
    const asked = this.#pending.get(found.id);
    if (!asked) return; // abandoned
    this.#pending.delete(found.id);
    asked.thread.underWay -= 1;
    if ("rendered" in found) asked.resolve(found.rendered);
    else asked.reject(new FileError(found.fault));
  }

  /** Rejects all images with the first failure, and ends the threads. */
  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
    for (const { worker } of this.#threads.splice(0)) void worker.terminate();
  }
}

const threadEnded = (why: string): DecodingError =>
  new DecodingError(
    `an image decoding thread ended: ${why}; saved checkpoints are kept, and a run that is resumed (--resume) continues from there`,
  );

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
