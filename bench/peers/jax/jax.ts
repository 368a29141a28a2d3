/** jax-js on the device that heddle opens: it looks for a browser's `navigator.gpu`, which Node does not have. */
import { defaultDevice, init, type Array as JaxArray, numpy as np } from "@jax-js/jax";
import { UnsupportedError } from "../../../compiler/index.ts";
import { openDevice } from "../../device.ts";
import type { PlainTensor } from "../../model/values.ts";
import type { GpuDevice } from "../../subject.ts";

/** Opens the device, lends it to jax-js and makes WebGPU its default. Throws UnsupportedError where jax-js refuses. */
export async function startJax(): Promise<GpuDevice> {
  const gpu = await openDevice({ robust: true });
  Object.defineProperty(navigator, "gpu", { value: lend(gpu.device), configurable: true });
  const started = await init("webgpu");
  if (!started.includes("webgpu")) throw new UnsupportedError("jax-js does not take the WebGPU device");
  defaultDevice("webgpu");
  return gpu;
}

/** What jax-js asks of a browser: an adapter, and of it a device with the adapter's limits. */
const lend = (device: GPUDevice) => ({
  requestAdapter: async () => ({
    limits: device.limits,
    features: device.features,
    requestDevice: async () => device,
  }),
});

/** Reads an array back, waiting as heddle waits: the thread sleeps where it would take the adapter's processor. */
export const read = (gpu: GpuDevice, array: JaxArray): Promise<Float32Array> => gpu.settle(array.data());

/** Plain tensors as arrays of jax-js. */
export const arrays = (tensors: ReadonlyMap<string, PlainTensor>): Record<string, JaxArray> =>
  Object.fromEntries([...tensors].map(([name, { shape, data }]) => [name, np.array(data, { shape: [...shape] })]));
