/** Devices of a machine. */
import { referenceBackend } from "../backends/reference/index.ts";
import { UnsupportedError } from "../compiler/index.ts";
import { asDevice, asGpuDevice, type Device, givenDevice } from "./device.ts";

/**
 * Opens a device:
 * - "auto", the default: a hardware GPU where there is one, else the processor;
 * - "webgpu": a hardware GPU, else one that is imitated in software;
 * - "cpu": the processor, by onnxruntime (package onnxruntime-node);
 * - "reference": the slow interpreter in float64, which the others are compared with;
 * - any other text: the hardware GPU whose name has these words;
 * - a `GPUDevice` of the caller's, used with the features and limits that it was requested with; it stays open after `dispose`.
 * Throws UnsupportedError saying what is missing and which line installs it.
 */
export async function openDevice(which: string | GPUDevice = "auto"): Promise<Device> {
  if (which === "reference") return asDevice(referenceBackend(), "it is asked for");
  if (which === "cpu") return await openCpu("it is asked for");
  // Dawn is loaded where it is needed.
  const { requestDevice, systemBackend, waitAsleep } = await import("../backends/webgpu/node-index.ts");
  if (typeof which === "object") return await givenDevice(which, systemBackend(), waitAsleep);
  if (which === "auto" && !(await hasHardware()))
    return await openCpu("no hardware GPU was found, and the processor is faster than a GPU imitated in software");
  const named = which === "auto" || which === "webgpu" ? {} : { named: which };
  return asGpuDevice(await requestDevice({ prefer: "hardware", ...named }));
}

async function openCpu(reason: string): Promise<Device> {
  const { cpuBackend } = await import("../backends/onnxruntime/index.ts");
  return asDevice(await cpuBackend(), reason);
}

async function hasHardware(): Promise<boolean> {
  const { listAdapters } = await import("../backends/webgpu/node-index.ts");
  try {
    return (await listAdapters()).some(({ software }) => !software);
  } catch (error) {
    if (error instanceof UnsupportedError) return false; // Dawn has no binary for this machine
    throw error;
  }
}
