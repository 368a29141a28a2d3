/** Takes a device: a hardware GPU where there is one, else the processor; software GPUs only when asked for. */
import type { Backend } from "../backends/backend.ts";
import type { WebgpuBackend } from "../backends/webgpu/index.ts";
import { type Program, type StageObserver, UnsupportedError, UsageError } from "../compiler/index.ts";
import { bytesAllowed, type MemoryBudget } from "./memory-budget.ts";

const deviceChoices = ["auto", "webgpu", "cpu"] as const;
export type DeviceChoice = (typeof deviceChoices)[number];

export interface ChosenDevice {
  readonly backend: Backend;
  /** For people: what was taken and why. */
  readonly reason: string;
  /** Tells `seen` of each program from now on, before anything is allocated for it; the processor's library has none. */
  readonly watch?: (seen: (program: Program) => void) => void;
}

export interface DeviceOptions {
  /** Whether what heddle tune found is used; default true. */
  readonly tuning?: boolean;
  /** What each program may take of the device's memory. */
  readonly budget?: MemoryBudget | undefined;
  /** Threads of the processor; default all. */
  readonly threads?: number;
  /** The hardware GPU whose name has these words. */
  readonly named?: string;
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
export async function openDevice(choice: DeviceChoice, options: DeviceOptions = {}): Promise<ChosenDevice> {
  if (choice === "cpu") return await openCpu("asked for", options);
  if (choice === "webgpu") return await openGpu(options);
  const gpu = await hardwareGpu(options);
  return (
    gpu ??
    (await openCpu("no hardware GPU was found, and the processor is faster than a GPU imitated in software", options))
  );
}

async function openCpu(why: string, { budget, threads }: DeviceOptions): Promise<ChosenDevice> {
  if (budget !== undefined)
    throw new UsageError(
      `--memory is for WebGPU, whose memory heddle plans; the processor's is onnxruntime's (cpu: ${why}). Leave it out, or take --device webgpu`,
    );
  const { cpuBackend } = await import("../backends/onnxruntime/index.ts");
  const backend = await cpuBackend(threads === undefined ? {} : { threads });
  return { backend, reason: `${backend.device.name} (${why})` };
}

async function openGpu(options: DeviceOptions): Promise<ChosenDevice> {
  const { requestDevice } = await import("../backends/webgpu/node-index.ts");
  const { named } = options;
  const gpu = await requestDevice({ prefer: "hardware", ...(named !== undefined && { named }) });
  return await chosen(gpu, `taken because ${gpu.reason}`, options);
}

async function chosen(
  gpu: WebgpuBackend["gpu"],
  why: string,
  { tuning = true, budget }: DeviceOptions,
): Promise<ChosenDevice> {
  const { webgpuBackend } = await import("../backends/webgpu/index.ts");
  const { tunedOptions } = await import("../api/node-index.ts");
  const options = await tunedOptions(gpu, tuning);
  const { size } = options.findings ?? new Map();
  const found = size > 0 ? `; ${size} ${size === 1 ? "shape" : "shapes"} of kernels tuned` : "";
  const allowed = budget && { memory: await bytesAllowed(budget, gpu.adapter) };
  const watchers: ((program: Program) => void)[] = [];
  const watching: StageObserver = {
    onStage: ({ stage, after }) => {
      if (stage === "kernels") for (const seen of watchers) seen(after as Program);
    },
  };
  return {
    backend: webgpuBackend(gpu, { ...options, ...allowed, observers: [...(options.observers ?? []), watching] }),
    reason: `${gpu.adapter.description} (${why}${found})`,
    watch: (seen) => void watchers.push(seen),
  };
}

/** A hardware GPU, or undefined where there is none; an adapter that fails to open is told, not passed over. */
async function hardwareGpu(options: DeviceOptions): Promise<ChosenDevice | undefined> {
  const { listAdapters, requestDevice } = await import("../backends/webgpu/node-index.ts");
  const adapters = await listAdapters().catch((error: unknown) => {
    if (error instanceof UnsupportedError) return [];
    throw error;
  });
  if (!adapters.some((a) => !a.software)) return undefined;
  return await chosen(await requestDevice({ prefer: "hardware" }), "a hardware GPU", options);
}
