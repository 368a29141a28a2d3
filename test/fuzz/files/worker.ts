/** Tries the seeds of one format and reports the current one, so that a hanging seed is known. */
import { existsSync, readdirSync, readlinkSync, realpathSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import sharp from "sharp";
import { formats } from "./formats.ts";
import { openExample } from "./try-seed.ts";

const { name, from, to, at } = workerData as { name: string; from: number; to: number; at: Int32Array };
sharp.concurrency(1); // for small images, threads within one cost more than they save
const example = await openExample(formats.find((f) => f.name === name)!);

/** Files of the example that are open; none where the system cannot tell. */
const openFiles = (): readonly string[] =>
  existsSync("/proc/self/fd")
    ? readdirSync("/proc/self/fd")
        .map((fd) => linkOf(`/proc/self/fd/${fd}`))
        .filter((path) => path.startsWith(realpathSync(example.root)))
    : [];

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // that of the directory listing itself
  }
}

try {
  for (let seed = from; seed < to; seed++) {
    Atomics.store(at, 0, seed);
    const finding = await example.trySeed(seed);
    if (finding !== undefined) parentPort!.postMessage(finding);
  }
  await setTimeout(100); // streams close a little later
  const [left] = openFiles();
  if (left !== undefined) parentPort!.postMessage(`${name} seeds ${from} to ${to - 1}: ${left} stays open`);
} finally {
  example.dispose();
}
