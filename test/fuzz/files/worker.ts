/** Tries seeds of one format, and tells which it is at, so that one that never ends is known. */
import { parentPort, workerData } from "node:worker_threads";
import { formats } from "./formats.ts";
import { openExample } from "./try-seed.ts";

const { name, from, to, at } = workerData as { name: string; from: number; to: number; at: Int32Array };
const example = await openExample(formats.find((f) => f.name === name)!);
try {
  for (let seed = from; seed < to; seed++) {
    Atomics.store(at, 0, seed);
    const finding = await example.trySeed(seed);
    if (finding !== undefined) parentPort!.postMessage(finding);
  }
} finally {
  example.dispose();
}
