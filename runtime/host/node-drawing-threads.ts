/** Drawing on several threads, so that a model of billions of parameters is initialized on all cores. */
import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { UsageError } from "../../compiler/index.ts";
import { type Draw, type DrawingThreads, inPieces } from "../random/drawing.ts";

/** A drawn piece, or why drawing failed. */
export type Drawn =
  | { readonly id: number; readonly bytes: Uint8Array }
  | { readonly id: number; readonly fault: string };

/** Threads start with the first draw. */
export function drawingThreads(threads = availableParallelism()): DrawingThreads {
  const workers: Worker[] = [];
  const waiting = new Map<number, { resolve: (bytes: Uint8Array) => void; reject: (why: Error) => void }>();
  let ids = 0;
  const start = () => {
    const worker = new Worker(new URL(`./node-draw-worker${extname(import.meta.url)}`, import.meta.url));
    worker.on("message", (drawn: Drawn) => {
      const asked = waiting.get(drawn.id);
      waiting.delete(drawn.id);
      if (!asked) return; // abandoned
      if ("bytes" in drawn) asked.resolve(drawn.bytes);
      else asked.reject(new UsageError(`a parameter cannot be initialized: ${drawn.fault}`));
    });
    worker.on("error", giveUp);
    return worker;
  };
  /** Rejects all pending draws; the next draw starts new threads. */
  const giveUp = (why: Error) => {
    for (const { reject } of waiting.values()) reject(why);
    waiting.clear();
    for (const worker of workers.splice(0)) void worker.terminate();
  };
  const send = (draw: Omit<Draw, "id">): Promise<Uint8Array> => {
    while (workers.length < threads) workers.push(start());
    const id = ids++;
    const drawn = new Promise<Uint8Array>((resolve, reject) => waiting.set(id, { resolve, reject }));
    drawn.catch(() => {}); // handled by whoever awaits this piece, if anyone still does
    workers[id % threads]!.postMessage({ id, ...draw } satisfies Draw);
    return drawn;
  };
  return {
    draw: (what) => inPieces(what, 2 * threads, send),
    async dispose() {
      const ending = workers.map((w) => w.terminate());
      giveUp(new UsageError("the weights were disposed of while they were being initialized"));
      await Promise.all(ending);
    },
  };
}
