/** Named tensors that stay on the device between runs. */
import {
  deviceElementBytes,
  didYouMean,
  elementCount,
  type HostTensor,
  printType,
  UsageError,
} from "../../../compiler/index.ts";
import type { Store } from "../../backend.ts";
import type { GpuDevice } from "./device.ts";
import { type DeviceTensor, ReadBack, storageBuffer, upload } from "./memory.ts";

export class DeviceStore implements Store {
  private readonly gpu: GpuDevice;
  private readonly tensors = new Map<string, DeviceTensor>();
  private readonly onDispose: (store: DeviceStore) => void;

  constructor(gpu: GpuDevice, onDispose: (store: DeviceStore) => void) {
    this.gpu = gpu;
    this.onDispose = onDispose;
  }

  /** The tensor of that name; throws UsageError when there is none. */
  tensor(name: string): DeviceTensor {
    const found = this.tensors.get(name);
    if (found) return found;
    throw new UsageError(`the store has no tensor "${name}"${didYouMean(name, this.tensors.keys())}`);
  }

  /** The tensor of that name, if there is one. */
  find(name: string): DeviceTensor | undefined {
    return this.tensors.get(name);
  }

  async write(name: string, value: HostTensor): Promise<void> {
    const known = this.tensors.get(name);
    if (known && printType(known) === printType(value)) return upload(this.gpu, known.buffer, value);
    known?.buffer.destroy();
    const { dtype, axes } = value;
    const buffer = storageBuffer(this.gpu, elementCount(axes) * deviceElementBytes(dtype), name);
    upload(this.gpu, buffer, value);
    this.tensors.set(name, { buffer, dtype, axes });
    this.gpu.check();
  }

  async read(name: string): Promise<HostTensor> {
    const readBack = new ReadBack(this.gpu, [this.tensor(name)]);
    const encoder = this.gpu.device.createCommandEncoder();
    readBack.encode(encoder);
    this.gpu.device.queue.submit([encoder.finish()]);
    return (await readBack.read())[0]!;
  }

  names(): readonly string[] {
    return [...this.tensors.keys()];
  }

  dispose(): void {
    for (const { buffer } of this.tensors.values()) buffer.destroy();
    this.tensors.clear();
    this.onDispose(this);
  }
}
