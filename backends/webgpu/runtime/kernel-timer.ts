/** Device timestamps of each kernel of a submission. */
import type { GpuDevice } from "./device.ts";
import { mapModeRead, usage } from "./memory.ts";

/** Maximum queries per set (WebGPU, section 20.1). */
const mostQueries = 4096;

/** Begin and end, in nanoseconds of a clock with an arbitrary epoch. */
export interface Ticks {
  readonly begin: number;
  readonly end: number;
}

/** Times passes; requires `timestamp-query`. */
export class KernelTimer {
  private readonly gpu: GpuDevice;
  private readonly sets: readonly GPUQuerySet[];
  private readonly resolved: GPUBuffer;
  private readonly staging: GPUBuffer;
  private readonly count: number;

  constructor(gpu: GpuDevice, passes: number) {
    this.gpu = gpu;
    this.count = 2 * passes;
    const lengths = Array.from({ length: Math.ceil(this.count / mostQueries) }, (_, i) =>
      Math.min(mostQueries, this.count - i * mostQueries),
    );
    this.sets = lengths.map((count) => gpu.device.createQuerySet({ type: "timestamp", count }));
    const buffer = (what: string, flags: number) =>
      gpu.memory.allocate({ what, kind: "read-backs", bytes: 8 * this.count, usage: flags });
    this.resolved = buffer("timestamps", usage.queryResolve | usage.copySrc);
    this.staging = buffer("timestamps read-back", usage.mapRead | usage.copyDst);
  }

  /** The descriptor that times a pass as number `index`. */
  pass(index: number): GPUComputePassDescriptor {
    const at = (2 * index) % mostQueries;
    const querySet = this.sets[Math.floor((2 * index) / mostQueries)]!;
    return { timestampWrites: { querySet, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 } };
  }

  /** Encodes the timestamp read-back; call after the last pass. */
  encode(encoder: GPUCommandEncoder): void {
    for (const [i, set] of this.sets.entries())
      encoder.resolveQuerySet(set, 0, set.count, this.resolved, 8 * mostQueries * i);
    encoder.copyBufferToBuffer(this.resolved, 0, this.staging, 0, 8 * this.count);
  }

  /** Call after the commands are submitted. */
  async read(): Promise<Ticks[]> {
    await this.gpu.settle(this.staging.mapAsync(mapModeRead), "timing kernels");
    const ticks = new BigUint64Array(this.staging.getMappedRange().slice(0, 8 * this.count));
    const base = ticks[0] ?? 0n;
    // Only differences matter: absolute timestamps may exceed the exact integers of a double.
    const since = (t: bigint) => Number(t - base) + Number(base % 2n ** 50n);
    return Array.from({ length: this.count / 2 }, (_, i) => ({
      begin: since(ticks[2 * i]!),
      end: since(ticks[2 * i + 1]!),
    }));
  }

  dispose(): void {
    for (const set of this.sets) set.destroy();
    this.resolved.destroy();
    this.staging.destroy();
  }
}

/** Maps the device clock to the host's: work runs after its submission and before the host sees it complete. */
export class DeviceClock {
  /** Host time minus device time, in milliseconds. */
  private offset: number | undefined;

  /** The spans of a submission in host milliseconds. */
  onHost(ticks: readonly Ticks[], submitted: number, done: number): Ticks[] {
    const first = Math.min(...ticks.map((t) => t.begin)) / 1e6;
    const last = Math.max(...ticks.map((t) => t.end)) / 1e6;
    const offset = Math.min(
      Math.max(this.offset ?? submitted - first, submitted - first),
      Math.max(done - last, submitted - first),
    );
    this.offset = offset;
    return ticks.map(({ begin, end }) => ({ begin: begin / 1e6 + offset, end: end / 1e6 + offset }));
  }
}
