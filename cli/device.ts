/** Takes a device: a hardware GPU where there is one, else the processor; software GPUs only when asked for. */
import type { Backend } from "../backends/backend.ts";
import type { WebgpuBackend } from "../backends/webgpu/index.ts";
import { UnsupportedError, UsageError } from "../compiler/index.ts";

const deviceChoices = ["auto", "webgpu", "cpu"] as const;
export type DeviceChoice = (typeof deviceChoices)[number];

export interface ChosenDevice {
  readonly backend: Backend;
  /** For people: what was taken and why. */
  readonly reason: string;
}

export function parseDevice(text: string): DeviceChoice {
  const choice = deviceChoices.find((c) => c === text);
  if (!choice) throw new UsageError(`--device is one of ${deviceChoices.join(", ")}, not "${text}"`);
  return choice;
}

/**
 * Opens the device asked for; `auto` never takes a software GPU. Backends are loaded only when they are used. What
 * `heddle tune` found on it is used, but for `tuning` false.
 */
export async function openDevice(choice: DeviceChoice, { tuning = true } = {}): Promise<ChosenDevice> {
  if (choice === "cpu") return await openCpu("asked for");
  if (choice === "webgpu") return await openGpu(tuning);
  const gpu = await hardwareGpu(tuning);
  return (
    gpu ?? (await openCpu("no hardware GPU was found, and the processor is faster than a GPU imitated in software"))
  );
}

async function openCpu(why: string): Promise<ChosenDevice> {
  const { cpuBackend } = await import("../backends/onnxruntime/index.ts");
  const backend = await cpuBackend();
  return { backend, reason: `${backend.device.name} (${why})` };
}

async function openGpu(tuning: boolean): Promise<ChosenDevice> {
  const { requestDevice } = await import("../backends/webgpu/node-index.ts");
  const gpu = await requestDevice({ prefer: "hardware" });
  return await chosen(gpu, `taken because ${gpu.reason}`, tuning);
}

async function chosen(gpu: WebgpuBackend["gpu"], why: string, tuning: boolean): Promise<ChosenDevice> {
  const { webgpuBackend } = await import("../backends/webgpu/index.ts");
  const { tunedOptions } = await import("./tuning.ts");
  const options = await tunedOptions(gpu, tuning);
  const { size } = options.findings ?? new Map();
  const found = size > 0 ? `; ${size} ${size === 1 ? "shape" : "shapes"} of kernels tuned` : "";
  return { backend: webgpuBackend(gpu, options), reason: `${gpu.adapter.description} (${why}${found})` };
}

/** A hardware GPU, or undefined where there is none; an adapter that fails to open is told, not passed over. */
async function hardwareGpu(tuning: boolean): Promise<ChosenDevice | undefined> {
  const { listAdapters, requestDevice } = await import("../backends/webgpu/node-index.ts");
  const adapters = await listAdapters().catch((error: unknown) => {
    if (error instanceof UnsupportedError) return [];
    throw error;
  });
  if (!adapters.some((a) => !a.software)) return undefined;
  return await chosen(await requestDevice({ prefer: "hardware" }), "a hardware GPU", tuning);
}
