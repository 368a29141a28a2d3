/** A thread that draws values and hands back their stored bytes: what `drawing-threads.ts` starts. */
import { parentPort } from "node:worker_threads";
import { encode } from "../safetensors/stored-dtype.ts";
import type { Draw, Drawn } from "./drawing-threads.ts";
import { randomStream } from "./streams.ts";

parentPort!.on("message", ({ id, distribution, seed, stream, start, count, dtype }: Draw) => {
  try {
    const bytes = encode(dtype, randomStream(seed, stream).fill(distribution, count, 0, start));
    parentPort!.postMessage({ id, bytes } satisfies Drawn, [bytes.buffer as ArrayBuffer]);
  } catch (error) {
    parentPort!.postMessage({ id, fault: (error as Error).message } satisfies Drawn);
  }
});
