/** Tensors in device memory: sizes, uploads, read-backs. */
import {
  allocate,
  boundsOf,
  type Dim,
  type DType,
  deviceElementBytes,
  dimValue,
  elementCount,
  type HostData,
  type HostTensor,
  type SizedAxis,
  type Sizes,
} from "../../../compiler/index.ts";
import type { GpuDevice } from "./device.ts";
import { bufferBytes, type MemoryKind } from "./device-memory.ts";
import { mapModeRead, usage } from "./flags.ts";

export { mapModeRead, usage };

/** A storage buffer usable in copies. Throws UnsupportedError above the adapter's limit. */
export const storageBuffer = (
  gpu: GpuDevice,
  bytes: number,
  what: string,
  kind: MemoryKind = "measurements",
): GPUBuffer => gpu.memory.allocate({ what, kind, bytes, usage: usage.storage | usage.copySrc | usage.copyDst });

/** A uniform buffer that the queue can write. */
export const uniformBuffer = (gpu: GpuDevice, bytes: number, what: string): GPUBuffer =>
  gpu.memory.allocate({ what, kind: "constants", bytes, usage: usage.uniform | usage.copyDst });

/** The largest maximum byte size of the tensors whose size is static or bounded; 0 if there are none. */
export const mostBytes = (tensors: readonly Dim[]): number =>
  Math.max(0, ...tensors.map((bytes) => boundsOf(bytes).max).filter(Number.isFinite));

/**
 * A buffer for tensors of possibly symbolic size. If their maximum sizes are declared, it is allocated for those;
 * otherwise it grows with the runs, by at least half, so that slowly growing sizes do not reallocate it each time.
 */
export class GrowingBuffer {
  private readonly gpu: GpuDevice;
  private readonly tensors: readonly Dim[];
  private readonly what: string;
  private readonly kind: MemoryKind;
  private current: GPUBuffer | undefined;

  /** `tensors` are the byte sizes of the tensors that use the buffer, one at a time. */
  constructor(gpu: GpuDevice, tensors: readonly Dim[], what: string, kind: MemoryKind) {
    this.gpu = gpu;
    this.tensors = tensors;
    this.what = what;
    this.kind = kind;
  }

  /** The buffer, if allocated. */
  get made(): GPUBuffer[] {
    return this.current ? [this.current] : [];
  }

  /** The buffer; call `reserve` first. */
  get buffer(): GPUBuffer {
    return this.current!;
  }

  /** Allocates the buffer for the maximum sizes, as far as they are known or declared. */
  reserveMost(): void {
    const most = mostBytes(this.tensors);
    if (most > 0) this.current = storageBuffer(this.gpu, most, this.what, this.kind);
  }

  /** Makes the buffer large enough for the sizes of a run; returns true if it was reallocated. */
  reserve(sizes: Sizes): boolean {
    const needed = Math.max(...this.tensors.map((bytes) => dimValue(bytes, sizes)));
    if (this.current && this.current.size >= bufferBytes(needed)) return false;
    const grown = this.current ? Math.min(1.5 * this.current.size, this.gpu.limits.maxBufferSize) : 0;
    this.current?.destroy();
    this.current = storageBuffer(this.gpu, Math.max(needed, grown), this.what, this.kind);
    return true;
  }

  dispose(): void {
    this.current?.destroy();
    this.current = undefined;
  }
}

/** Values in the device's layout: padded to whole words, four bytes per bool. */
export function deviceData(tensor: HostTensor): ArrayBufferView<ArrayBuffer> {
  const { dtype, data } = tensor;
  const exact = dtype === "bool" ? Uint32Array.from(data) : typed(dtype, data);
  if (exact.byteLength % 4 === 0) return exact;
  const padded = new Uint8Array(Math.ceil(exact.byteLength / 4) * 4);
  padded.set(new Uint8Array(exact.buffer, exact.byteOffset, exact.byteLength));
  return padded;
}

/** The data in the array type of its dtype and not in a SharedArrayBuffer; not copied if it already is. */
function typed(dtype: DType, data: HostData): ArrayBufferView<ArrayBuffer> {
  const target = allocate(dtype, 0);
  if (data.constructor === target.constructor && data.buffer instanceof ArrayBuffer) {
    return data as ArrayBufferView<ArrayBuffer>;
  }
  const copy = allocate(dtype, data.length);
  copy.set(data);
  return copy as ArrayBufferView<ArrayBuffer>;
}

export function upload(gpu: GpuDevice, buffer: GPUBuffer, tensor: HostTensor): void {
  const data = deviceData(tensor);
  gpu.device.queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, data.byteLength);
}

/** A tensor in a buffer. */
export interface DeviceTensor {
  readonly buffer: GPUBuffer;
  readonly dtype: DType;
  readonly axes: readonly SizedAxis[];
}

/** Encodes copies of tensors into one staging buffer; call `read` after the commands are submitted. */
export class ReadBack {
  private readonly gpu: GpuDevice;
  private readonly tensors: readonly DeviceTensor[];
  private readonly offsets: number[] = [];
  private readonly what: string;
  private readonly staging: GPUBuffer | undefined;

  /** `what` names the tensors in errors. */
  constructor(gpu: GpuDevice, tensors: readonly DeviceTensor[], what: string) {
    this.gpu = gpu;
    this.tensors = tensors;
    this.what = what;
    let size = 0;
    for (const t of tensors) {
      this.offsets.push(size);
      size += bufferBytes(elementCount(t.axes) * deviceElementBytes(t.dtype));
    }
    if (size > 0) {
      this.staging = gpu.memory.allocate({
        what,
        kind: "read-backs",
        bytes: size,
        usage: usage.mapRead | usage.copyDst,
      });
    }
  }

  encode(encoder: GPUCommandEncoder): void {
    this.tensors.forEach((t, i) => {
      const bytes = Math.ceil((elementCount(t.axes) * deviceElementBytes(t.dtype)) / 4) * 4;
      encoder.copyBufferToBuffer(t.buffer, 0, this.staging!, this.offsets[i]!, bytes);
    });
  }

  async read(): Promise<HostTensor[]> {
    if (!this.staging) return [];
    try {
      await this.gpu.allocated([this.staging]);
      await this.gpu.settle(this.staging.mapAsync(mapModeRead), `reading ${this.what} back`);
      const mapped = this.staging.getMappedRange();
      return this.tensors.map((t, i) => fromDevice(t, mapped.slice(this.offsets[i]!, this.offsets[i + 1])));
    } finally {
      this.staging.destroy();
    }
  }
}

function fromDevice(tensor: DeviceTensor, bytes: ArrayBuffer): HostTensor {
  const { dtype, axes } = tensor;
  const count = elementCount(axes);
  if (dtype === "bool") return { dtype, axes, data: Uint8Array.from(new Uint32Array(bytes, 0, count)) };
  const arrays = { f32: Float32Array, f16: Float16Array, i32: Int32Array, u32: Uint32Array } as const;
  return { dtype, axes, data: new arrays[dtype](bytes, 0, count) };
}
