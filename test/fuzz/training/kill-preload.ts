/**
 * Loaded before `heddle` in a process that is to be killed: `KILL_AT` is the file system operation at which it kills
 * itself, and `COUNT_IN` a file for the number of them in a process that is left alone.
 */
import { writeFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { killAtOperation } from "./kill-at.ts";

if (isMainThread) {
  const { KILL_AT, COUNT_IN } = process.env;
  const count = killAtOperation(Number(KILL_AT ?? Number.POSITIVE_INFINITY));
  if (COUNT_IN) process.on("exit", () => writeFileSync(COUNT_IN, String(count())));
}
