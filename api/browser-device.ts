/** Devices in the browser. */
import { referenceBackend } from "../backends/reference/index.ts";
import { requestBrowserDevice } from "../backends/webgpu/index.ts";
import { UsageError } from "../compiler/index.ts";
import { asDevice, asGpuDevice, type Device, givenDevice } from "./device.ts";

/**
 * Opens a device: "auto" and "webgpu" take the browser's high-performance adapter, "reference" the slow float64
 * interpreter. A `GPUDevice` is used with the features and limits it was created with, and stays open after `dispose`.
 * Throws UnsupportedError if the page has no WebGPU.
 */
export async function openDevice(which: "auto" | "webgpu" | "reference" | GPUDevice = "auto"): Promise<Device> {
  if (typeof which === "object") return asGpuDevice(await givenDevice(which, "browser", (pending) => pending));
  if (which === "reference") return asDevice(referenceBackend(), "it was requested");
  if (which === "auto" || which === "webgpu") return asGpuDevice(await requestBrowserDevice());
  throw new UsageError(`unknown device "${which}"; in a browser, device must be auto, webgpu or reference`);
}
