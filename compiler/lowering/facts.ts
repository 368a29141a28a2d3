/** The adapter facts that schedules are chosen by and kernels are generated for. */
import { guaranteedFacts, type KernelFacts } from "../kernel/index.ts";

export interface AdapterFacts extends KernelFacts {
  /** Kernels run on CPU threads: registers are cheap, barriers and workgroup memory are expensive. */
  readonly software: boolean;
  /** Required alignment of binding offsets, in bytes. */
  readonly bindingAlignment: number;
}

/** WebGPU's guaranteed limits: kernels made for these run everywhere. */
export const baselineFacts: AdapterFacts = { ...guaranteedFacts, software: false, bindingAlignment: 256 };

/** Workgroup size for threads that share nothing: whole subgroups of a usual GPU, or what a CPU thread runs at once. */
export const independentThreads = (facts: AdapterFacts): number => (facts.software ? 32 : 64);

/** Why nothing is shared within workgroups of an adapter that runs on CPU threads. */
export const noSharing = "a barrier costs more than it saves where kernels run on CPU threads";

/** The adapter's only subgroup size, for schedules that share within subgroups; or why they cannot rely on one. */
export function onlySubgroupSize({ subgroupSizes: { min, max } }: AdapterFacts): number | string {
  return min === max && min >= 2 ? min : `subgroups have ${min} to ${max} lanes, not one number of them`;
}

/** The subgroup size that a kernel can rely on: the only one the adapter has, or one that the kernel may request. */
export function subgroupLanes({ features, subgroupSizes: { min, max } }: AdapterFacts): number | undefined {
  if (!features.has("subgroups") || max === 0) return undefined;
  if (min === max) return min;
  return features.has("subgroup_size") ? Math.max(min, Math.min(max, 32)) : undefined;
}
