/** A device as the functions here take it. */
import type { Backend } from "../backends/backend.ts";
import { adoptDevice, type GraphicsBackend, type WebgpuBackend, webgpuBackend } from "../backends/webgpu/index.ts";
import { type KernelOptions, UsageError } from "../compiler/index.ts";
import { kindOfValue } from "../dsl/index.ts";

/**
 * What runs graphs: compiles them, keeps tensors between runs, runs. `device` says what it is; `dispose` closes it once what
 * was begun on it has ended (a training ends after the step at hand, saved), but for a `GPUDevice` that was handed in, which
 * stays its owner's.
 */
export interface Device extends Backend {
  /** Why this one was taken, as a phrase. */
  readonly reason: string;
}

/** What is known of a device besides what it is. */
interface Life {
  /** Calls that were begun on it and have not ended. */
  running: number;
  /** Says that it was disposed of. */
  readonly closing: AbortController;
  readonly free: () => void;
}

const lives = new WeakMap<Device, Life>();

/** A backend with the reason for it. What was begun before it is disposed of has it to its end. */
export function asDevice(backend: Backend, reason: string): Device {
  const free = backend.dispose.bind(backend);
  const life: Life = { running: 0, closing: new AbortController(), free };
  const dispose = () => {
    if (life.closing.signal.aborted) return;
    life.closing.abort();
    if (life.running === 0) free();
  };
  const device: Device = Object.assign(backend, { reason, dispose });
  lives.set(device, life);
  return device;
}

/** Throws UsageError for what is no device, such as the promise of one, and for one that was disposed of. */
export function requireDevice(device: Device): void {
  if (typeof device?.createStore !== "function") {
    const given = (device as unknown) instanceof Promise ? "a promise: await openDevice" : kindOfValue(device);
    throw new UsageError(`a device is what openDevice gives, not ${given}`);
  }
  if (lives.get(device)?.closing.signal.aborted)
    throw new UsageError(`the device "${device.device.name}" was disposed of: open another, or dispose of it later`);
}

/** Does something on a device, which stays open until that has ended; `closing` comes when it is disposed of meanwhile. */
export async function onDevice<T>(device: Device, work: (closing: AbortSignal) => Promise<T>): Promise<T> {
  requireDevice(device);
  const life = lives.get(device) ?? { running: 0, closing: new AbortController(), free: () => {} };
  life.running += 1;
  try {
    return await work(life.closing.signal);
  } finally {
    life.running -= 1;
    if (life.running === 0 && life.closing.signal.aborted) life.free();
  }
}

/** A WebGPU device that the caller opened: kernels use its features and limits and no others. */
export async function givenDevice(device: GPUDevice, backend: GraphicsBackend, wait: Wait) {
  if (typeof device?.createBuffer !== "function" || !("adapterInfo" in device) || !("lost" in device))
    throw new UsageError(`a device is opened by a name, or is a GPUDevice; not ${kindOfValue(device)}`);
  return await adoptDevice(device, { backend, reason: "it was handed in", wait });
}

export const asGpuDevice = (gpu: WebgpuBackend["gpu"], options: KernelOptions = {}): Device =>
  asDevice(webgpuBackend(gpu, options), gpu.reason);

type Wait = <T>(pending: Promise<T>) => Promise<T>;
