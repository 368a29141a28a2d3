/**
 * Measured peak rates of adapter classes, for planning without one. For an adapter of this machine, `heddle devices
 * --measure` takes precedence.
 */
import type { Ceilings } from "../backends/webgpu/index.ts";
import type { Findings } from "../compiler/index.ts";

export interface MeasuredAdapter {
  readonly ceilings: Partial<Ceilings>;
  /** Number of multiprocessors: fewer workgroups leave some of them idle. */
  readonly units?: number;
  /** Tuning results shipped for the class: none have been measured yet. */
  readonly findings: Findings;
  readonly source: string;
}

/** By the names of adapters that kernels can be shown for. */
export const measuredAdapters: Readonly<Record<string, MeasuredAdapter>> = {
  "nvidia-h200": {
    // For matrix units only matmuls were timed (196e12 at best, untuned), which is no ceiling.
    ceilings: { copy: 4249e9, f32: 63.8e12, f16: 64.8e12, dispatch: 4.4e-6, submission: 34e-6 },
    units: 132,
    findings: new Map(),
    source: "Vulkan, driver 580.159.04, npm webgpu 0.6.2; 2026-11-28",
  },
};
