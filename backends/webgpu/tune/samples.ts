/** Numbers to time kernels with: never zeros, which take less power, and the same in every run. */
import { type DType, deviceElementBytes } from "../../../compiler/index.ts";
import type { GpuDevice } from "../runtime/device.ts";
import { storageBuffer } from "../runtime/memory.ts";

/** Elements that are drawn; longer tensors repeat them. Odd, so that rows of a tensor differ. */
const drawn = 2 ** 18 - 1;

/** Fewer rows than any table that is worth timing has. */
const indices = 8;

/** xorshift32: uniform in 0 .. 1. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * What elements of a dtype are: floats from -0.5 to 1, of which most may be taken the root or the logarithm, so that what
 * computes with them is not all NaN; whole numbers that may be indices.
 */
function values(dtype: DType): ArrayBufferView<ArrayBuffer> {
  const next = uniform(0x9e3779b9);
  const floats = () => Float32Array.from({ length: drawn }, () => 1.5 * next() - 0.5);
  switch (dtype) {
    case "f32":
      return floats();
    case "f16":
      return new Float16Array(floats());
    case "bool":
      return Uint32Array.from({ length: drawn }, () => (next() < 0.5 ? 0 : 1));
    default:
      return Int32Array.from({ length: drawn }, () => Math.floor(next() * indices));
  }
}

/** Fills buffers by copies on the device: an upload of gigabytes would take longer than what is timed. */
export class Samples {
  private readonly gpu: GpuDevice;
  private readonly blocks = new Map<DType, GPUBuffer>();

  constructor(gpu: GpuDevice) {
    this.gpu = gpu;
  }

  fill(encoder: GPUCommandEncoder, buffer: GPUBuffer, dtype: DType): void {
    const block = this.block(dtype);
    const length = Math.floor((drawn * deviceElementBytes(dtype)) / 4) * 4;
    for (let at = 0; at < buffer.size; at += length)
      encoder.copyBufferToBuffer(block, 0, buffer, at, Math.min(length, buffer.size - at));
  }

  private block(dtype: DType): GPUBuffer {
    const known = this.blocks.get(dtype);
    if (known) return known;
    const data = values(dtype);
    const block = storageBuffer(this.gpu, data.byteLength, `samples of ${dtype}`);
    this.gpu.device.queue.writeBuffer(block, 0, data.buffer, 0, Math.floor(data.byteLength / 4) * 4);
    this.blocks.set(dtype, block);
    return block;
  }

  dispose(): void {
    for (const block of this.blocks.values()) block.destroy();
  }
}
