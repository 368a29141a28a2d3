/** Double-buffered staging: one buffer is filled from files while the device copies from the other. */
import { DeviceLostError, type GpuDevice } from "../device.ts";
import { usage } from "../memory.ts";

/** Maximum bytes per staging buffer: large enough that a copy takes longer than the latency of waiting for it. */
export const stagingBytes = 64 * 2 ** 20;

/** More would use more memory and be no faster. */
const stagingBuffers = 2;

const mapModeWrite = 0x2;

/** A mapped buffer that the device reads directly, without an intermediate copy. */
export interface Staging {
  readonly buffer: GPUBuffer;
  /** The mapped memory, once the device has finished with its previous contents; valid until `submit`. */
  map(): Promise<ArrayBuffer>;
  /** Unmaps the memory and submits the commands that read it. */
  submit(commands: readonly GPUCommandBuffer[]): void;
}

/**
 * Runs `work` on each chunk with a staging buffer of `bytes`, two at a time; `doing` is for errors. The buffers are
 * destroyed when it returns; the device may still be copying. The first failure is thrown after all work has ended.
 */
export async function throughStaging<T>(
  gpu: GpuDevice,
  { bytes, doing }: { readonly bytes: number; readonly doing: string },
  chunks: Iterator<T>,
  work: (chunk: T, staging: Staging) => Promise<void>,
): Promise<void> {
  let failed = false;
  const next = (): T | undefined => {
    if (failed) return undefined;
    if (gpu.memory.closing) throw new DeviceLostError(gpu.adapter.description, "it was disposed", doing);
    const { done, value } = chunks.next();
    return done ? undefined : value;
  };
  const turns = Array.from({ length: stagingBuffers }, async (_, i) => {
    let staging: Staging | undefined;
    try {
      for (let chunk = next(); chunk !== undefined; chunk = next()) {
        staging ??= await stagingBuffer(gpu, bytes, `staging ${i}`, doing);
        await work(chunk, staging);
      }
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      staging?.buffer.destroy();
    }
  });
  for (const turn of await Promise.allSettled(turns)) if (turn.status === "rejected") throw turn.reason;
}

async function stagingBuffer(gpu: GpuDevice, bytes: number, what: string, doing: string): Promise<Staging> {
  const { device, memory } = gpu;
  const flags = usage.mapWrite | usage.copySrc;
  const buffer = memory.allocate({ what, kind: "staging", bytes, usage: flags, mappedAtCreation: true });
  await gpu.allocated([buffer], doing);
  let mapped = Promise.resolve();
  return {
    buffer,
    map: async () => {
      await gpu.settle(mapped, doing);
      return buffer.getMappedRange();
    },
    submit: (commands) => {
      buffer.unmap();
      device.queue.submit([...commands]);
      mapped = buffer.mapAsync(mapModeWrite);
      mapped.catch(() => {}); // reported by the next map, if any
    },
  };
}
