/** Communication volume of data parallelism. docs/plan.md. */
import type { Shard } from "../../runtime/index.ts";

export interface Exchanged {
  /** Bytes of the trained parameters, in f32. */
  readonly gradients: number;
  /** Bytes of weights read by the graphs of a micro-batch, and by those that run once; if weights are sharded. */
  readonly read?: number;
  readonly readOnce?: number;
}

/**
 * Bytes that each device sends per update. An all-reduce sends 2 (n - 1) / n of the bytes, as do an all-gather and a
 * reduce-scatter together; one of these alone sends half of that. Patarasuk and Yuan 2009, section 3.
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
