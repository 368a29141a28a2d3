/** What kernels are chosen and made by: the facts of an adapter. */

export interface AdapterFacts {
  /** Kernels run on CPU threads: registers are cheap, barriers and workgroup memory dear. */
  readonly software: boolean;
  /** WGSL features that the device was opened with, by their names in WebGPU. */
  readonly features: ReadonlySet<string>;
  /** Storage buffers that one kernel may bind. */
  readonly maxBindings: number;
  /** Bytes that the start of a binding is a multiple of. */
  readonly bindingAlignment: number;
  readonly maxWorkgroupInvocations: number;
  /** Bytes of memory that the threads of a workgroup can share. */
  readonly maxWorkgroupStorage: number;
  readonly maxWorkgroupsPerDimension: number;
}

/** WebGPU's guaranteed limits: kernels made for these run everywhere. */
export const baselineFacts: AdapterFacts = {
  software: false,
  features: new Set(),
  maxBindings: 8,
  bindingAlignment: 256,
  maxWorkgroupInvocations: 256,
  maxWorkgroupStorage: 16384,
  maxWorkgroupsPerDimension: 65535,
};

/** Threads of a workgroup whose threads share nothing: a GPU's usual subgroups, or what a CPU thread works off at once. */
export const independentThreads = (facts: AdapterFacts): number => (facts.software ? 32 : 64);

/** Why nothing is shared within workgroups of an adapter that runs on CPU threads. */
export const noSharing = "a barrier costs more than it saves where kernels run on CPU threads";
