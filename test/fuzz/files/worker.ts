/** Tries seeds of one format, and tells which it is at, so that one that never ends is known. */
import { readdirSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { formats } from "./formats.ts";
import { openExample } from "./try-seed.ts";

const { name, from, to, at } = workerData as { name: string; from: number; to: number; at: Int32Array };
const example = await openExample(formats.find((f) => f.name === name)!);

/** Files that this process has open; 0 where the system does not tell. */
function openFiles(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return 0;
  }
}

try {
  await example.trySeed(from); // opens what stays open
  const before = openFiles();
  for (let seed = from; seed < to; seed++) {
    Atomics.store(at, 0, seed);
    const finding = await example.trySeed(seed);
    if (finding !== undefined) parentPort!.postMessage(finding);
  }
  const left = openFiles() - before;
  if (left > 16) parentPort!.postMessage(`${name} seeds ${from} to ${to - 1}: ${left} files stay open`);
} finally {
  example.dispose();
}
