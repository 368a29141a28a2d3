/** Takes a device: a hardware GPU where there is one, else the processor; software GPUs only when asked for. */
import type { Backend } from "../backends/backend.ts";
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

/** Opens the device asked for; `auto` never takes a software GPU. Backends are loaded only when they are used. */
export async function openDevice(choice: DeviceChoice): Promise<ChosenDevice> {
  if (choice === "cpu") return await openCpu("asked for");
  if (choice === "webgpu") return await openGpu();
  const gpu = await hardwareGpu();
  return (
    gpu ?? (await openCpu("no hardware GPU was found, and the processor is faster than a GPU imitated in software"))
  );
}

async function openCpu(why: string): Promise<ChosenDevice> {
  const { cpuBackend } = await import("../backends/onnxruntime/index.ts");
  const backend = await cpuBackend();
  return { backend, reason: `${backend.device.name} (${why})` };
}

async function openGpu(): Promise<ChosenDevice> {
  const { requestDevice } = await import("../backends/webgpu/node-index.ts");
  const { webgpuBackend } = await import("../backends/webgpu/index.ts");
  const gpu = await requestDevice({ prefer: "hardware" });
  return { backend: webgpuBackend(gpu), reason: `${gpu.adapter.description} (taken because ${gpu.reason})` };
}

/** A hardware GPU, or undefined where there is none; an adapter that fails to open is told, not passed over. */
async function hardwareGpu(): Promise<ChosenDevice | undefined> {
  const { listAdapters, requestDevice } = await import("../backends/webgpu/node-index.ts");
  const adapters = await listAdapters().catch((error: unknown) => {
    if (error instanceof UnsupportedError) return [];
    throw error;
  });
  if (!adapters.some((a) => !a.software)) return undefined;
  const { webgpuBackend } = await import("../backends/webgpu/index.ts");
  const gpu = await requestDevice({ prefer: "hardware" });
  return { backend: webgpuBackend(gpu), reason: `${gpu.adapter.description} (a hardware GPU)` };
}
