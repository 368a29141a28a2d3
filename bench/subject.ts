/** A subject measured in its own process: one contender in one case. */
import type { requestDevice } from "../backends/webgpu/node-index.ts";

export type GpuDevice = Awaited<ReturnType<typeof requestDevice>>;

/** One repetition: from inputs in host memory to outputs in host memory. */
export type Run = () => Promise<Output>;
export type Output = Float32Array | Float64Array;

/**
 * A contender and case, with everything prepared that no measurement should include: device opened, values drawn,
 * library loaded.
 */
export interface Subject {
  /** The device whose calls are counted; absent on the CPU, and for a library that opens one natively. */
  readonly gpu?: GpuDevice;
  /** Builds the model and compiles whatever is compiled ahead of time; measured together with the first run. */
  readonly build: () => Promise<Run>;
  /** The time of each kernel in a run, if the contender can measure it. */
  readonly profile?: () => Promise<readonly KernelFigures[]>;
}

/** A kernel of a run. */
export interface KernelFigures {
  readonly name: string;
  readonly kind: string;
  readonly nanoseconds: number;
  /** Floating-point operations of its contraction, attention or reduction; 0 without any. */
  readonly flops: number;
  readonly bytes: number;
  /** The types of the tensors that it writes and reads. */
  readonly writes: readonly string[];
  readonly reads: readonly string[];
}

/** Counts of WebGPU API calls. */
export interface WebgpuCalls {
  readonly dispatches: number;
  readonly submissions: number;
  readonly buffers: number;
  readonly bufferBytes: number;
  readonly uploads: number;
  readonly pipelines: number;
}

/** The device as seen by the contender's process. */
export interface DeviceFacts {
  readonly description: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly graphics: string;
  readonly software: boolean;
  /** The flags with which Dawn was created. */
  readonly dawnFlags: readonly string[];
}

/** The measurements of one process. */
export interface Measurement {
  /** Building and the first run. */
  readonly firstRunMs: number;
  /** One time per timed repetition. */
  readonly timesMs: readonly number[];
  /**
   * CPU time of all threads for the same repetitions: on a software adapter, a time that other load does not affect.
   */
  readonly cpuMs: readonly number[];
  /** Share of all cores, 0 to 1, that other programs used meanwhile. */
  readonly otherLoad: number;
  /** Outputs of the first repetitions. */
  readonly outputs: readonly Output[];
  /** From process start to the end of its last repetition. */
  readonly processMs: number;
  readonly peakRssBytes: number;
  /** Calls of the last repetition; absent if the contender makes its calls from native code. */
  readonly calls?: WebgpuCalls;
  /** Pipelines created over all repetitions. */
  readonly pipelines?: number;
  readonly device?: DeviceFacts;
  /** Paths of the Vulkan loaders and drivers loaded by the process. */
  readonly drivers: readonly string[];
  readonly kernels?: readonly KernelFigures[];
}
