/** Devices in Node. */
import { referenceBackend } from "../backends/reference/index.ts";
import type { WebgpuBackend } from "../backends/webgpu/index.ts";
import { UnsupportedError, UsageError } from "../compiler/index.ts";
import { kindOfValue } from "../dsl/index.ts";
import { asDevice, asGpuDevice, type Device, givenDevice } from "./device.ts";
import { kinds, type OptionTable, requireOptions } from "./options.ts";

/** Options of `openDevice`. */
export interface DeviceOptions {
  /**
   * Whether GPU kernels use the schedules that `heddle tune` found on this machine; default true. HEDDLE_TUNING=off
   * also disables them.
   */
  readonly tuning?: boolean;
  /** Called with messages: how many kernels use tuning results, and which results are stale. */
  readonly onNote?: (text: string) => void;
}

const deviceOptions: OptionTable<DeviceOptions> = { tuning: kinds.flag, onNote: kinds.callback };

/**
 * Opens a device:
 * - "auto", the default: a hardware GPU if there is one, else the CPU;
 * - "webgpu": a hardware GPU, else a software adapter;
 * - "cpu": the CPU, by onnxruntime (package onnxruntime-node);
 * - "reference": the slow float64 interpreter, which the others are tested against;
 * - "swiftshader" or "lavapipe": that software adapter;
 * - any other string: the hardware GPU whose name has these words;
 * - a `GPUDevice`, used with the features and limits it was created with; it stays open after `dispose`.
 * Throws UnsupportedError with what is missing and the command that installs it, UsageError if no device has that name.
 */
export async function openDevice(which: string | GPUDevice = "auto", options: DeviceOptions = {}): Promise<Device> {
  requireOptions("openDevice", options, deviceOptions);
  requireChoice(which);
  if (which === "reference") return asDevice(referenceBackend(), "it was requested");
  if (which === "cpu") return await openCpu("it was requested");
  // Loads Dawn only when needed.
  const { requestDevice, systemBackend, waitAsleep } = await import("../backends/webgpu/node-index.ts");
  if (typeof which === "object") return await asTuned(await givenDevice(which, systemBackend(), waitAsleep), options);
  if (which === "auto" && !(await hasHardware()))
    return await openCpu("no hardware GPU was found, and the CPU is faster than a software GPU");
  return await asTuned(await requestDevice({ prefer: "hardware", ...adapterOf(which) }), options);
}

/** What a name asks for: a software adapter, or a GPU with these words in its name. */
function adapterOf(which: string): { readonly source?: "swiftshader" | "lavapipe"; readonly named?: string } {
  if (which === "auto" || which === "webgpu") return {};
  return which === "swiftshader" || which === "lavapipe" ? { source: which } : { named: which };
}

/** A GPU's device with the kernel schedules that `heddle tune` found, as on the command line. */
async function asTuned(gpu: WebgpuBackend["gpu"], { tuning, onNote = () => {} }: DeviceOptions): Promise<Device> {
  const { tunedOptions } = await import("./node-tuning.ts");
  return asGpuDevice(gpu, await tunedOptions(gpu, tuning, onNote));
}

function requireChoice(which: unknown): void {
  if ((typeof which === "string" && which !== "") || (typeof which === "object" && which !== null)) return;
  throw new UsageError(`a device must be a name or a GPUDevice, got ${which === "" ? '""' : kindOfValue(which)}`);
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
