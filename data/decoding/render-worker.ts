/** A thread that renders pictures and hands back their numbers: what `threads.ts` starts. */
import { parentPort, workerData } from "node:worker_threads";
import { FileError } from "../../compiler/index.ts";
import { type ImageOptions, render } from "./render.ts";
import type { Answer, Question } from "./threads.ts";

const options = workerData as ImageOptions;

parentPort!.on("message", async ({ id, job }: Question) => {
  try {
    const rendered = await render(job, options);
    const handedOver = [rendered.pixels, rendered.mask].flatMap((array) =>
      array ? [array.buffer as ArrayBuffer] : [],
    );
    parentPort!.postMessage({ id, rendered } satisfies Answer, handedOver);
  } catch (error) {
    if (!(error instanceof FileError)) throw error; // ends the thread, and the run with it
    parentPort!.postMessage({ id, fault: error.message } satisfies Answer);
  }
});
