/** What devices that share a step send each other. docs/plan.md. */
import type { Shard } from "../../runtime/index.ts";

export interface Exchanged {
  /** Bytes of the trained parameters, in f32. */
  readonly gradients: number;
  /** Bytes of weights that the graphs of a micro-batch read, and those that are run once; where weights are in parts. */
  readonly read?: number;
  readonly readOnce?: number;
}

/**
 * Bytes that each device sends in an update. A sum over all, or a gather of what each has a part of and a sum of parts, is
 * 2 (n - 1) / n of the bytes, of which one alone is half. Patarasuk and Yuan 2009, section 3.
 */
export function exchangedBytes(
  { gradients, read = 0, readOnce = 0 }: Exchanged,
  devices: number,
  microBatches: number,
  shard?: Shard,
): number {
  const share = (devices - 1) / devices;
  if (shard === "weights") return share * (microBatches * (gradients + read) + readOnce);
  return share * gradients * (shard === "gradients" ? microBatches + 1 : 2);
}
