/** Worker thread that draws values and returns their stored bytes; started by `node-drawing-threads.ts`. */
import { parentPort } from "node:worker_threads";
import { type Draw, drawBytes } from "../random/drawing.ts";
import type { Drawn } from "./node-drawing-threads.ts";

parentPort!.on("message", (draw: Draw) => {
  const { id } = draw;
  try {
    const bytes = drawBytes(draw);
    parentPort!.postMessage({ id, bytes } satisfies Drawn, [bytes.buffer as ArrayBuffer]);
  } catch (error) {
    parentPort!.postMessage({ id, fault: (error as Error).message } satisfies Drawn);
  }
});
