/**
 * What classes of adapter were measured to do, for whoever has none at hand. Of an adapter that is at hand
 * `heddle devices --measure` says it, and that comes first.
 */
import type { Ceilings } from "../backends/webgpu/index.ts";
import type { Findings } from "../compiler/index.ts";

export interface MeasuredAdapter {
  readonly ceilings: Partial<Ceilings>;
  /** Threads of workgroups run on so many units side by side: fewer workgroups leave some of them idle. */
  readonly units?: number;
  /** Findings that are shipped for the class: none have been measured yet. */
  readonly findings: Findings;
  readonly source: string;
}

/** By the names of adapters that kernels can be shown for. */
export const measuredAdapters: Readonly<Record<string, MeasuredAdapter>> = {
  "nvidia-h200": {
    // Of matrix units only products were timed (196e12 at best, untuned), which is no ceiling.
    ceilings: { copy: 4249e9, f32: 63.8e12, f16: 64.8e12, dispatch: 4.4e-6, submission: 34e-6 },
    units: 132,
    findings: new Map(),
    source: "Vulkan, driver 580.159.04, npm webgpu 0.6.2; 2026-11-28",
  },
};
