/** Chooses a device: a hardware GPU if there is one, else the CPU; software GPUs only on request. */
import type { Backend } from "../backends/backend.ts";
import type { WebgpuBackend } from "../backends/webgpu/index.ts";
import { type Program, type StageObserver, UnsupportedError, UsageError } from "../compiler/index.ts";
import { bytesAllowed, type MemoryBudget } from "./memory-budget.ts";

const deviceChoices = ["auto", "webgpu", "cpu"] as const;
export type DeviceChoice = (typeof deviceChoices)[number];

export interface ChosenDevice {
  readonly backend: Backend;
  /** What was chosen and why, as a message. */
  readonly reason: string;
  /** Calls `seen` with each program before it is allocated; the CPU backend has no programs. */
  readonly watch?: (seen: (program: Program) => void) => void;
}

export interface DeviceOptions {
  /** Whether tuning results of `heddle tune` are used; default true. */
  readonly tuning?: boolean;
  /** The device memory budget of each program. */
  readonly budget?: MemoryBudget | undefined;
  /** CPU threads; default all. */
  readonly threads?: number;
  /** The hardware GPU whose name has these words. */
  readonly named?: string;
  /** Receives notes on tuning results; default prints them to stderr. */
  readonly say?: (text: string) => void;
}

export function parseDevice(text: string): DeviceChoice {
  const choice = deviceChoices.find((c) => c === text);
  if (!choice) throw new UsageError(`--device must be one of ${deviceChoices.join(", ")}; got "${text}"`);
  return choice;
}

/**
 * Opens the requested device; `auto` never takes a software GPU. Backends are loaded on demand. Tuning results for it
 * are used unless `tuning` is false.
 */
export async function openDevice(choice: DeviceChoice, options: DeviceOptions = {}): Promise<ChosenDevice> {
  if (choice === "cpu") return await openCpu("requested", options);
  if (choice === "webgpu") return await openGpu(options);
  const gpu = await hardwareGpu(options);
  return (
    gpu ?? (await openCpu("no hardware GPU was found, and the CPU is faster than a GPU emulated in software", options))
  );
}

async function openCpu(why: string, { budget, threads }: DeviceOptions): Promise<ChosenDevice> {
  if (budget !== undefined)
    throw new UsageError(
      `--memory applies to WebGPU only; on the CPU, onnxruntime manages the memory (cpu: ${why}). Leave it out, or use --device webgpu`,
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
  { tuning = true, budget, say }: DeviceOptions,
): Promise<ChosenDevice> {
  const { webgpuBackend } = await import("../backends/webgpu/index.ts");
  const { tunedOptions } = await import("../api/node-index.ts");
  const options = await tunedOptions(gpu, tuning, say);
  const { size } = options.findings ?? new Map();
  const found = size > 0 ? `; ${size} tuned kernel ${size === 1 ? "shape" : "shapes"}` : "";
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

/** A hardware GPU, or undefined if there is none; an adapter that fails to open is reported. */
async function hardwareGpu(options: DeviceOptions): Promise<ChosenDevice | undefined> {
  const { listAdapters, requestDevice } = await import("../backends/webgpu/node-index.ts");
  const adapters = await listAdapters().catch((error: unknown) => {
    if (error instanceof UnsupportedError) return [];
    throw error;
  });
  if (!adapters.some((a) => !a.software)) return undefined;
  return await chosen(await requestDevice({ prefer: "hardware" }), "a hardware GPU", options);
}
