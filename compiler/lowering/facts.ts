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

/** Lanes of a subgroup that a kernel can be sure of: the only number that there is, or one that it may ask for. */
export function subgroupLanes({ features, subgroupSizes: { min, max } }: AdapterFacts): number | undefined {
  if (!features.has("subgroups") || max === 0) return undefined;
  if (min === max) return min;
  return features.has("subgroup_size") ? Math.max(min, Math.min(max, 32)) : undefined;
}
