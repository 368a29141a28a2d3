/** What kernels are chosen and made by: the facts of an adapter. */
import { guaranteedFacts, type KernelFacts } from "../kernel/index.ts";

export interface AdapterFacts extends KernelFacts {
  /** Kernels run on CPU threads: registers are cheap, barriers and workgroup memory dear. */
  readonly software: boolean;
  /** Bytes that the start of a binding is a multiple of. */
  readonly bindingAlignment: number;
}

/** WebGPU's guaranteed limits: kernels made for these run everywhere. */
export const baselineFacts: AdapterFacts = { ...guaranteedFacts, software: false, bindingAlignment: 256 };

/** Threads of a workgroup whose threads share nothing: a GPU's usual subgroups, or what a CPU thread works off at once. */
export const independentThreads = (facts: AdapterFacts): number => (facts.software ? 32 : 64);

/** Why nothing is shared within workgroups of an adapter that runs on CPU threads. */
export const noSharing = "a barrier costs more than it saves where kernels run on CPU threads";
