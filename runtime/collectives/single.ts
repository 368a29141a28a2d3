/** Collectives of a single process: no-ops. */
import type { Collectives } from "./collectives.ts";

const nothing = async (): Promise<void> => {};

export const singleProcess: Collectives = {
  rank: 0,
  size: 1,
  node: { rank: 0, size: 1 },
  carrier: "one process",
  broadcast: nothing,
  allReduce: nothing,
  reduceScatter: nothing,
  allGather: nothing,
  scatter: nothing,
  barrier: nothing,
  channel: () => ({ rank: 0, size: 1, allGather: nothing, close: () => {} }),
  traffic: () => ({ sentBytes: 0, seconds: 0 }),
  dispose: nothing,
};
