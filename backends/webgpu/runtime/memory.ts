/** Tensors in device memory: sizes, uploads, read-backs. */
import {
  allocate,
  type DType,
  dtypeBytes,
  elementCount,
  type HostData,
  type HostTensor,
  type SizedAxis,
  UnsupportedError,
} from "../../../compiler/index.ts";
import type { GpuDevice } from "./device.ts";

/** WebGPU's usage flags by their values in the specification: in Node, Dawn's constants are no globals. */
export const usage = { mapRead: 0x1, copySrc: 0x4, copyDst: 0x8, storage: 0x80, queryResolve: 0x200 } as const;
export const mapModeRead = 0x1;

/** Buffer and copy sizes are multiples of 4 bytes, bindings of up to 16. */
const granule = 16;

/** Bytes of one element on a device, where nothing smaller than 4 bytes but f16 is addressable. */
export const elementBytes = (dtype: DType): number => (dtype === "bool" ? 4 : dtypeBytes[dtype]);

export const bufferBytes = (bytes: number): number => Math.max(granule, Math.ceil(bytes / granule) * granule);

/** A buffer that kernels bind and that copies reach. Throws UnsupportedError above the adapter's limit. */
export function storageBuffer(gpu: GpuDevice, bytes: number, label: string): GPUBuffer {
  const size = bufferBytes(bytes);
  if (size > gpu.limits.maxBufferSize) {
    throw new UnsupportedError(
      `"${label}" takes ${size} bytes, more than the ${gpu.limits.maxBufferSize} of one buffer on "${gpu.adapter.description}"`,
    );
  }
  return gpu.device.createBuffer({ label, size, usage: usage.storage | usage.copySrc | usage.copyDst });
}

/** Values as the device stores them: whole words, a bool in four bytes. */
function deviceData(tensor: HostTensor): ArrayBufferView<ArrayBuffer> {
  const { dtype, data } = tensor;
  const exact = dtype === "bool" ? Uint32Array.from(data) : typed(dtype, data);
  if (exact.byteLength % 4 === 0) return exact;
  const padded = new Uint8Array(Math.ceil(exact.byteLength / 4) * 4);
  padded.set(new Uint8Array(exact.buffer, exact.byteOffset, exact.byteLength));
  return padded;
}

/** The data in the array type of its dtype and outside shared memory; itself where it already is. */
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

/** Encodes copies of tensors into one staging buffer; `read` is called when the commands are submitted. */
export class ReadBack {
  private readonly gpu: GpuDevice;
  private readonly tensors: readonly DeviceTensor[];
  private readonly offsets: number[] = [];
  private readonly staging: GPUBuffer | undefined;

  constructor(gpu: GpuDevice, tensors: readonly DeviceTensor[]) {
    this.gpu = gpu;
    this.tensors = tensors;
    let size = 0;
    for (const t of tensors) {
      this.offsets.push(size);
      size += bufferBytes(elementCount(t.axes) * elementBytes(t.dtype));
    }
    if (size > 0) {
      this.staging = gpu.device.createBuffer({
        label: "read-back",
        size,
        usage: usage.mapRead | usage.copyDst,
      });
    }
  }

  encode(encoder: GPUCommandEncoder): void {
    this.tensors.forEach((t, i) => {
      const bytes = Math.ceil((elementCount(t.axes) * elementBytes(t.dtype)) / 4) * 4;
      encoder.copyBufferToBuffer(t.buffer, 0, this.staging!, this.offsets[i]!, bytes);
    });
  }

  async read(): Promise<HostTensor[]> {
    if (!this.staging) return [];
    try {
      await this.gpu.settle(this.staging.mapAsync(mapModeRead));
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
