/** A device as the functions here take it. */
import type { Backend } from "../backends/backend.ts";
import { adoptDevice, type GraphicsBackend, type WebgpuBackend, webgpuBackend } from "../backends/webgpu/index.ts";
import { UsageError } from "../compiler/index.ts";

/**
 * What runs graphs: compiles them, keeps tensors between runs, runs. `device` says what it is; `dispose` closes it, but for a
 * `GPUDevice` that was handed in, which stays its owner's.
 */
export interface Device extends Backend {
  /** Why this one was taken, as a phrase. */
  readonly reason: string;
}

/** A backend with the reason for it. */
export const asDevice = (backend: Backend, reason: string): Device => Object.assign(backend, { reason });

/** A WebGPU device that the caller opened: kernels use its features and limits and no others. */
export async function givenDevice(device: GPUDevice, backend: GraphicsBackend, wait: Wait) {
  if (typeof device?.createBuffer !== "function")
    throw new UsageError(`a device is opened by a name, or is a GPUDevice; not ${String(device)}`);
  const gpu = await adoptDevice(device, { backend, reason: "it was handed in", wait });
  return asGpuDevice(gpu);
}

export const asGpuDevice = (gpu: WebgpuBackend["gpu"]): Device => asDevice(webgpuBackend(gpu), gpu.reason);

type Wait = <T>(pending: Promise<T>) => Promise<T>;
