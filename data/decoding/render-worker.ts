/** Worker thread that renders images and returns their pixels; started by `threads.ts`. */
import { parentPort, workerData } from "node:worker_threads";
import { FileError } from "../../compiler/index.ts";
import { type ImageOptions, render } from "./render.ts";
import { type Answer, grouped, type Question, ready } from "./threads.ts";

const options = workerData as ImageOptions;

const answer = grouped<Answer>((answers) => parentPort!.postMessage(answers, answers.flatMap(handedOver)));

/** Buffers that are transferred instead of copied. */
const handedOver = (found: Answer): ArrayBuffer[] =>
  "rendered" in found
    ? [found.rendered.pixels, found.rendered.mask].flatMap((array) => (array ? [array.buffer as ArrayBuffer] : []))
    : [];

parentPort!.on("message", (questions: readonly Question[]) => {
  for (const question of questions) void work(question);
});

async function work({ id, job }: Question): Promise<void> {
  try {
    answer({ id, rendered: await render(job, options) });
  } catch (error) {
    if (!(error instanceof FileError)) throw error; // ends the thread, and thus the run
    answer({ id, fault: error.message });
  }
}

parentPort!.postMessage(ready);
