/** Times dispatches: by device timestamps if available, else by wall clock from submission to completion. */
import type { GpuDevice } from "../runtime/device.ts";
import { mapModeRead, usage } from "../runtime/memory.ts";

/** Encodes the timed work into a pass, once. */
export type Encode = (pass: GPUComputePassEncoder) => void;

/** Nanoseconds per repetition, averaged over `repetitions` in one pass. */
export type Timer = (encode: Encode, repetitions: number) => Promise<number>;

export const timerOf = (gpu: GpuDevice): Timer =>
  gpu.features.has("timestamp-query")
    ? (encode, repetitions) => byTimestamps(gpu, encode, repetitions)
    : (encode, repetitions) => byWallClock(gpu, encode, repetitions);

function repeat(pass: GPUComputePassEncoder, encode: Encode, repetitions: number): void {
  for (let i = 0; i < repetitions; i++) encode(pass);
  pass.end();
}

async function byTimestamps(gpu: GpuDevice, encode: Encode, repetitions: number): Promise<number> {
  const { device } = gpu;
  const querySet = device.createQuerySet({ type: "timestamp", count: 2 });
  const resolved = device.createBuffer({ size: 16, usage: usage.queryResolve | usage.copySrc });
  const staging = device.createBuffer({ size: 16, usage: usage.mapRead | usage.copyDst });
  const timestampWrites = { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
  const encoder = device.createCommandEncoder();
  repeat(encoder.beginComputePass({ timestampWrites }), encode, repetitions);
  encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16);
  device.queue.submit([encoder.finish()]);
  await gpu.settle(staging.mapAsync(mapModeRead));
  const [begin, end] = new BigUint64Array(staging.getMappedRange().slice(0));
  for (const b of [resolved, staging]) b.destroy();
  querySet.destroy();
  return Number(end! - begin!) / repetitions;
}

async function byWallClock(gpu: GpuDevice, encode: Encode, repetitions: number): Promise<number> {
  const { device } = gpu;
  const encoder = device.createCommandEncoder();
  repeat(encoder.beginComputePass(), encode, repetitions);
  const commands = encoder.finish();
  const begun = performance.now();
  device.queue.submit([commands]);
  await gpu.settle(device.queue.onSubmittedWorkDone());
  return (1e6 * (performance.now() - begun)) / repetitions;
}
