/** Deterministic values to time kernels with; not all zeros, which take less power. */
import { type DType, deviceElementBytes } from "../../../compiler/index.ts";
import type { GpuDevice } from "../runtime/device.ts";
import { storageBuffer } from "../runtime/memory.ts";

/** Number of random elements; longer tensors repeat them. Odd, so that rows of a tensor differ. */
const drawn = 2 ** 18 - 1;

/** Exclusive bound of integers: no table worth timing has fewer rows, so that they are valid indices. */
const indices = 8;

/** xorshift32: uniform in [0, 1). */
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
 * Sample values of a dtype: floats from -0.5 to 1, most of them positive, so that roots and logarithms are not all NaN;
 * integers that are valid indices.
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

/** Fills buffers by copies on the device: uploading gigabytes would take longer than the timing itself. */
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
