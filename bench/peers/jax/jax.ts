/** Runs jax-js on heddle's device: it needs a browser's `navigator.gpu`, which Node lacks. */
import { defaultDevice, init, type Array as JaxArray, numpy as np } from "@jax-js/jax";
import { UnsupportedError } from "../../../compiler/index.ts";
import { openDevice } from "../../device.ts";
import type { PlainTensor } from "../../model/values.ts";
import type { GpuDevice } from "../../subject.ts";

/**
 * Opens the device, passes it to jax-js and makes WebGPU its default. Throws UnsupportedError when jax-js rejects it.
 */
export async function startJax(): Promise<GpuDevice> {
  const gpu = await openDevice({ robust: true });
  Object.defineProperty(navigator, "gpu", { value: lend(gpu.device), configurable: true });
  const started = await init("webgpu");
  if (!started.includes("webgpu")) throw new UnsupportedError("jax-js does not take the WebGPU device");
  defaultDevice("webgpu");
  return gpu;
}

/** What jax-js requires of a browser: an adapter, and from it a device with the adapter's limits. */
const lend = (device: GPUDevice) => ({
  requestAdapter: async () => ({
    limits: device.limits,
    features: device.features,
    requestDevice: async () => device,
  }),
});

/**
 * Reads an array back, waiting like heddle: the thread sleeps if polling would take CPU time from a software adapter.
 */
export const read = (gpu: GpuDevice, array: JaxArray): Promise<Float32Array> => gpu.settle(array.data());

/** Converts plain tensors to arrays of jax-js. */
export const arrays = (tensors: ReadonlyMap<string, PlainTensor>): Record<string, JaxArray> =>
  Object.fromEntries([...tensors].map(([name, { shape, data }]) => [name, np.array(data, { shape: [...shape] })]));
