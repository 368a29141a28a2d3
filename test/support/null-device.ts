/** A device without hardware: Dawn validates every shader, pipeline and command but executes none. */

import { type GpuDevice, openDevice } from "../../backends/webgpu/runtime/device.ts";
import { createInstance } from "../../backends/webgpu/runtime/node-instance.ts";
import { waitPlainly } from "../../backends/webgpu/runtime/wait.ts";
import { InternalError } from "../../compiler/index.ts";

/**
 * Opens Dawn's null device, which has every feature (f16, subgroups, subgroup matrices) and WebGPU's default limits.
 * It validates kernels for hardware that is not present; results of dispatches are meaningless. Node only.
 */
export async function requestNullDevice(): Promise<GpuDevice> {
  const instance = await createInstance("null");
  const adapter = await instance.requestAdapter();
  if (!adapter) throw new InternalError("Dawn has no null backend in this build");
  return openDevice(adapter, { backend: "null", reason: "it is only used for validation", wait: waitPlainly });
}
