/** Renders pictures on several threads, so that decoding never holds up the thread that feeds the device. */
import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { FileError, HeddleError } from "../../compiler/index.ts";
import type { ImageOptions, Rendered, RenderJob } from "./render.ts";
import { localRenderer, type Renderer } from "./renderer.ts";

export interface Question {
  readonly id: number;
  readonly job: RenderJob;
}

export type Answer =
  | { readonly id: number; readonly rendered: Rendered }
  | { readonly id: number; readonly fault: string };

/** What a thread says first, once it has loaded its code: a second during which pictures are rendered here. */
export const ready = "ready";

/** A thread ended: nothing is wrong with the samples, so none of them is skipped for it. */
export class DecodingError extends HeddleError {}

/** Up to so many pixels a side, on so few cores, a thread takes more time of the cores than it saves the one that feeds the device. */
const small = { side: 64, cores: 2 };

/** How many threads decode pictures of a size where nobody says: one core is left for the thread that feeds the device. */
export const usualWorkers = (size: number, cores: number): number =>
  cores <= small.cores && size <= small.side ? 0 : Math.max(1, cores - 1);

/** A thread decodes one picture while the bytes of the next are on their way. */
const jobsEach = 2;

/**
 * `workers` threads, started with the first picture; 0 renders on this one, and so do threads until they are ready. The
 * numbers are the same bits whatever their count. A thread that ends fails every picture asked for, then and later, with
 * one DecodingError.
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
      `a thread that decodes pictures ended: ${why}; what was saved is kept, and --resume goes on from there`,
    );
    for (const { reject } of waiting.values()) reject(failure);
    waiting.clear();
    for (const { worker } of threads.splice(0)) void worker.terminate();
  };
  const answer = (found: Answer) => {
    const asked = waiting.get(found.id);
    if (!asked) return; // given up
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
      failure ??= new DecodingError("the data was closed while pictures were decoded");
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

/** Hands on together what comes before the event loop goes round: a message costs as much as a small picture. */
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
