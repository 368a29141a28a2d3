/** Devices, as the package's functions take them. */
import type { Backend } from "../backends/backend.ts";
import { adoptDevice, type GraphicsBackend, type WebgpuBackend, webgpuBackend } from "../backends/webgpu/index.ts";
import { type KernelOptions, UsageError } from "../compiler/index.ts";
import { kindOfValue } from "../dsl/index.ts";

/**
 * Compiles and runs graphs, and keeps tensors between runs. `device` describes it; `dispose` closes it once work in
 * progress has ended (training stops after the current step and saves), except a `GPUDevice` that the caller passed in,
 * which stays open.
 */
export interface Device extends Backend {
  /** Why this device was chosen, as a phrase. */
  readonly reason: string;
}

/** A device's lifetime state. */
interface Life {
  /** Calls in progress on it. */
  running: number;
  /** Aborted when it is disposed of. */
  readonly closing: AbortController;
  readonly free: () => void;
}

const lives = new WeakMap<Device, Life>();

/** Wraps a backend as a device. Disposal waits for calls in progress. */
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

/**
 * Throws UsageError for a value that is not a device, such as the promise of one, and for a device that was disposed
 * of.
 */
export function requireDevice(device: Device): void {
  if (typeof device?.createStore !== "function") {
    const given = (device as unknown) instanceof Promise ? "a promise: await openDevice" : kindOfValue(device);
    throw new UsageError(`a device must be the result of openDevice, got ${given}`);
  }
  if (lives.get(device)?.closing.signal.aborted)
    throw new UsageError(`the device "${device.device.name}" has been disposed: open another one, or dispose it later`);
}

/**
 * Runs `work` on a device, which stays open until it has ended; `closing` is aborted if the device is disposed of
 * meanwhile.
 */
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

/** Adopts a WebGPU device that the caller opened: kernels use only its features and limits. */
export async function givenDevice(device: GPUDevice, backend: GraphicsBackend, wait: Wait) {
  if (typeof device?.createBuffer !== "function" || !("adapterInfo" in device) || !("lost" in device))
    throw new UsageError(`a device must be a name or a GPUDevice, got ${kindOfValue(device)}`);
  return await adoptDevice(device, { backend, reason: "it was passed in", wait });
}

export const asGpuDevice = (gpu: WebgpuBackend["gpu"], options: KernelOptions = {}): Device =>
  asDevice(webgpuBackend(gpu, options), gpu.reason);

type Wait = <T>(pending: Promise<T>) => Promise<T>;
