/** What is measured in a process of its own: a contender at work on one case. */
import type { requestDevice } from "../backends/webgpu/node-index.ts";

export type GpuDevice = Awaited<ReturnType<typeof requestDevice>>;

/** One repetition: from inputs in host memory to outputs in host memory. */
export type Run = () => Promise<Output>;
export type Output = Float32Array | Float64Array;

/** Contender and case with everything ready that no figure should contain: device open, numbers drawn, library loaded. */
export interface Subject {
  /** The device whose calls are counted; none for the CPU, and for a library that opens one natively. */
  readonly gpu?: GpuDevice;
  /** Builds the model and compiles it as far as it is compiled ahead; the first run is part of the same figure. */
  readonly build: () => Promise<Run>;
  /** The time of each kernel of one run, where the contender can tell. */
  readonly profile?: () => Promise<readonly KernelFigures[]>;
}

/** One kernel of a run. */
export interface KernelFigures {
  readonly name: string;
  readonly kind: string;
  readonly nanoseconds: number;
  /** Multiplications and additions of its contraction, attention or reduction; 0 where it has none. */
  readonly flops: number;
  readonly bytes: number;
  /** The types of what it writes and reads. */
  readonly writes: readonly string[];
  readonly reads: readonly string[];
}

/** Calls of the WebGPU interface. */
export interface WebgpuCalls {
  readonly dispatches: number;
  readonly submissions: number;
  readonly buffers: number;
  readonly bufferBytes: number;
  readonly uploads: number;
  readonly pipelines: number;
}

/** The device as the contender's process saw it. */
export interface DeviceFacts {
  readonly description: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly graphics: string;
  readonly software: boolean;
  /** What Dawn was created with. */
  readonly dawnFlags: readonly string[];
}

/** What one process measured. */
export interface Measurement {
  /** Building and the first run. */
  readonly firstRunMs: number;
  /** One figure per timed repetition. */
  readonly timesMs: readonly number[];
  /** Processor time of all threads for the same repetitions: on a software adapter, time that other load does not stretch. */
  readonly cpuMs: readonly number[];
  /** Share of all cores, 0 to 1, that other programs took meanwhile. */
  readonly otherLoad: number;
  /** Outputs of the first repetitions. */
  readonly outputs: readonly Output[];
  /** From the process's start to the end of its last repetition. */
  readonly processMs: number;
  readonly peakRssBytes: number;
  /** Of the last repetition; absent where the contender's calls pass through no JavaScript. */
  readonly calls?: WebgpuCalls;
  /** Pipelines made by all repetitions together. */
  readonly pipelines?: number;
  readonly device?: DeviceFacts;
  /** Shared libraries of the process that are Vulkan loaders or drivers, by path. */
  readonly drivers: readonly string[];
  readonly kernels?: readonly KernelFigures[];
}
