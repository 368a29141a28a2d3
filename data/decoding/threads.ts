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

/** A thread ended: nothing is wrong with the samples, so none of them is skipped for it. */
export class DecodingError extends HeddleError {}

/** One is left for the thread that feeds the device. */
export const defaultWorkers = Math.max(1, availableParallelism() - 1);

/** A thread decodes one picture while the bytes of the next are on their way. */
const jobsEach = 2;

/**
 * `workers` threads, started with the first picture; 0 renders on this one. The numbers are the same bits whatever their
 * count. A thread that ends fails every picture asked for, then and later, with one DecodingError.
 */
export function renderer(options: ImageOptions, workers = defaultWorkers): Renderer {
  if (workers === 0) return localRenderer(options);
  const threads: { readonly worker: Worker; underWay: number }[] = [];
  const waiting = new Map<
    number,
    { thread: (typeof threads)[number]; resolve: (r: Rendered) => void; reject: (e: Error) => void }
  >();
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
    worker.on("message", answer);
    worker.on("error", (error) => fail(error.message));
    worker.on("exit", (status) => fail(`it ended with status ${status}`));
    return { worker, underWay: 0 };
  };
  return {
    concurrency: jobsEach * workers,
    render: (job) => {
      if (failure) return Promise.reject(failure);
      if (threads.length < workers) threads.push(start());
      const thread = threads.reduce((least, one) => (one.underWay < least.underWay ? one : least));
      const id = ids++;
      thread.underWay += 1;
      return new Promise((resolve, reject) => {
        waiting.set(id, { thread, resolve, reject });
        thread.worker.postMessage({ id, job } satisfies Question);
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
