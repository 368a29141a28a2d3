/** The WebGPU device that contenders run on: heddle's own choice, lent to the libraries that take one. */
import { requestDevice } from "../backends/webgpu/node-index.ts";
import { watchDawnFlags } from "./dawn-flags.ts";
import type { DeviceFacts, GpuDevice } from "./subject.ts";

const dawnFlags = watchDawnFlags();

/**
 * A hardware GPU where there is one, else the software adapter; HEDDLE_ADAPTER has the last word. `robust` keeps WebGPU's
 * checks, which the kernels of others may need.
 */
export const openDevice = ({ robust = false } = {}): Promise<GpuDevice> =>
  requestDevice({ prefer: "hardware", robust });

export const deviceFacts = ({ adapter }: GpuDevice): DeviceFacts => ({
  description: adapter.description,
  vendor: adapter.vendor,
  architecture: adapter.architecture,
  graphics: adapter.backend,
  software: adapter.software,
  dawnFlags: [...dawnFlags],
});

/** Paths of the Vulkan loader and drivers that this process has loaded; on other systems than Linux there are none. */
export function loadedDrivers(): string[] {
  const { sharedObjects } = process.report.getReport() as { readonly sharedObjects: readonly string[] };
  return sharedObjects.filter((path) => /\/lib(vulkan|vk_|GLX_nvidia|nvidia-vulkan)[^/]*$/.test(path));
}
