/** Records a run on the timeline: its submission, and each kernel by name if the adapter has timestamps. */
import { type Program, timeline } from "../../../compiler/index.ts";
import type { GpuDevice } from "./device.ts";
import { DeviceClock, KernelTimer } from "./kernel-timer.ts";

const clocks = new WeakMap<GPUDevice, DeviceClock>();

function clockOf(device: GPUDevice): DeviceClock {
  let clock = clocks.get(device);
  if (!clock) clocks.set(device, (clock = new DeviceClock()));
  return clock;
}

export interface TracedRun {
  /** Absent if the adapter has no `timestamp-query`; the submission's span then says so. */
  readonly timer: KernelTimer | undefined;
  submits(): void;
  /** Call when the results are available. */
  done(): Promise<void>;
}

/** Undefined when no timeline is recording. A traced run is a little slower: each kernel is its own pass. */
export function traceRun(gpu: GpuDevice, { graph, kernels }: Program): TracedRun | undefined {
  const listening = timeline();
  if (!listening) return undefined;
  const timer =
    gpu.features.has("timestamp-query") && kernels.length > 0 ? new KernelTimer(gpu, kernels.length) : undefined;
  const facts = {
    kernels: kernels.length,
    ...(!timer && { "times of kernels": "none: the adapter does not support timestamp-query" }),
  };
  let submitted = 0;
  let end: (() => void) | undefined;
  return {
    timer,
    submits: () => {
      end = listening.begin("submissions", `@${graph.name}`, facts);
      submitted = performance.now();
    },
    done: async () => {
      const seen = performance.now();
      end?.();
      if (!timer) return;
      try {
        const spans = clockOf(gpu.device).onHost(await timer.read(), submitted, seen);
        for (const [i, { begin, end: ended }] of spans.entries())
          listening.span("kernels", kernels[i]!.name, begin, ended, { kind: kernels[i]!.kind });
      } finally {
        timer.dispose();
      }
    },
  };
}
