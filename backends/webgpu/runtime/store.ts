/** `Store` on the device: named tensors that persist between runs. */
import {
  deviceElementBytes,
  didYouMean,
  elementCount,
  type HostTensor,
  printType,
  spanned,
  UsageError,
} from "../../../compiler/index.ts";
import type { Store, StoredTensor } from "../../backend.ts";
import type { GpuDevice } from "./device.ts";
import { keptBytes, type Loader } from "./loading/loader.ts";
import { type DeviceTensor, deviceData, ReadBack, storageBuffer, upload } from "./memory.ts";

/** Minimum number of elements for a value to go through staging buffers. */
const largeElements = 2 ** 20;

/** Wraps a host tensor as raw words that the loader copies unchanged. */
function wordsOf(value: HostTensor): StoredTensor {
  const { buffer, byteOffset, byteLength } = deviceData(value);
  return {
    axes: [{ name: "words", size: byteLength / 4 }],
    dtype: "f32",
    stored: "f32",
    place: { file: "", offset: 0 },
    fill: async (at, into) => into.set(new Uint8Array(buffer, byteOffset + at, into.length)),
  };
}

export class DeviceStore implements Store {
  private readonly gpu: GpuDevice;
  private readonly tensors = new Map<string, DeviceTensor>();
  private readonly loader: Loader;
  private readonly onDispose: (store: DeviceStore) => void;

  constructor(gpu: GpuDevice, loader: Loader, onDispose: (store: DeviceStore) => void) {
    this.gpu = gpu;
    this.loader = loader;
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
    if (known && printType(known) === printType(value)) return this.upload(name, known.buffer, value);
    this.forget(name);
    const { dtype, axes } = value;
    const buffer = storageBuffer(this.gpu, elementCount(axes) * deviceElementBytes(dtype), name, "weights and states");
    this.tensors.set(name, { buffer, dtype, axes });
    const doing = `writing "${name}"`;
    try {
      await this.gpu.allocated([buffer], doing);
      await this.upload(name, buffer, value);
      this.gpu.check(doing);
    } catch (error) {
      this.forget(name);
      throw error;
    }
  }

  /** Large values go through staging buffers: `queue.writeBuffer` would hold a second copy of the value. */
  private async upload(name: string, buffer: GPUBuffer, value: HostTensor): Promise<void> {
    if (elementCount(value.axes) < largeElements)
      return spanned("uploads", name, async () => upload(this.gpu, buffer, value));
    await this.loader.load([{ name, tensor: wordsOf(value), buffer }]);
  }

  async load(tensors: ReadonlyMap<string, StoredTensor>): Promise<void> {
    const loaded: { name: string; tensor: StoredTensor; buffer: GPUBuffer; isNew: boolean }[] = [];
    try {
      for (const [name, tensor] of tensors) {
        const known = this.tensors.get(name);
        const isNew = !known || printType(known) !== printType(tensor);
        const buffer = isNew ? storageBuffer(this.gpu, keptBytes(tensor), name, "weights and states") : known.buffer;
        loaded.push({ name, tensor, buffer, isNew });
      }
      const buffers = loaded.filter((l) => l.isNew).map((l) => l.buffer);
      await this.gpu.allocated(buffers, "making room for weights");
      await this.loader.load(loaded);
    } catch (error) {
      for (const { name, buffer, isNew } of loaded) {
        if (isNew) buffer.destroy();
        else this.forget(name); // it may be half overwritten
      }
      throw error;
    }
    for (const { name, tensor, buffer, isNew } of loaded) {
      if (!isNew) continue;
      this.forget(name);
      this.tensors.set(name, { buffer, dtype: tensor.dtype, axes: tensor.axes });
    }
  }

  private forget(name: string): void {
    this.tensors.get(name)?.buffer.destroy();
    this.tensors.delete(name);
  }

  async read(name: string): Promise<HostTensor> {
    const readBack = new ReadBack(this.gpu, [this.tensor(name)], `"${name}"`);
    const encoder = this.gpu.device.createCommandEncoder();
    readBack.encode(encoder);
    this.gpu.device.queue.submit([encoder.finish()]);
    return (await readBack.read())[0]!;
  }

  remove(name: string): void {
    this.forget(name);
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
