/** The WebGPU device that contenders run on: heddle's own choice, shared with libraries that accept a device. */
import { requestDevice } from "../backends/webgpu/node-index.ts";
import { watchDawnFlags } from "./dawn-flags.ts";
import type { DeviceFacts, GpuDevice } from "./subject.ts";

const dawnFlags = watchDawnFlags();

/**
 * A hardware GPU if there is one, else the software adapter; HEDDLE_ADAPTER overrides this. `robust` keeps WebGPU's
 * robustness checks, which other libraries' kernels may need.
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

/** Paths of the Vulkan loader and drivers loaded by this process; empty on systems other than Linux. */
export function loadedDrivers(): string[] {
  const { sharedObjects } = process.report.getReport() as { readonly sharedObjects: readonly string[] };
  return sharedObjects.filter((path) => /\/lib(vulkan|vk_|GLX_nvidia|nvidia-vulkan)[^/]*$/.test(path));
}
