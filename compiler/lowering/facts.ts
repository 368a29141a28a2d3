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
export const noSharing = "kernels run on CPU threads, where a workgroup barrier costs more than sharing saves";

/** Why a schedule that exploits cheap registers and expensive barriers does not suit a GPU. */
export const onlySoftware = "it is only for adapters that run kernels on CPU threads";

/** Why a schedule that needs one subgroup size rejects an adapter with several. */
export const noSubgroupSize = "the subgroup size is not fixed, and the adapter cannot set it (feature subgroup_size)";

/** Why a workgroup of so many threads is too large for an adapter. */
export const tooManyThreads = (threads: number, { maxWorkgroupInvocations }: AdapterFacts): string =>
  `a workgroup would have ${threads} threads, and the adapter allows ${maxWorkgroupInvocations}`;

/** What does not fit in the adapter's workgroup memory: the end of a sentence whose subject takes it. */
export const tooMuchMemory = (bytes: number, { maxWorkgroupStorage }: AdapterFacts): string =>
  `need ${bytes} bytes of workgroup memory, and the adapter has ${maxWorkgroupStorage}`;

/** The adapter's only subgroup size, for schedules that share within subgroups; or why they cannot rely on one. */
export function onlySubgroupSize({ subgroupSizes: { min, max } }: AdapterFacts): number | string {
  return min === max && min >= 2 ? min : `the subgroup size is not fixed: ${min} to ${max} lanes`;
}

/** The subgroup size that a kernel can rely on: the only one the adapter has, or one that the kernel may request. */
export function subgroupLanes({ features, subgroupSizes: { min, max } }: AdapterFacts): number | undefined {
  if (!features.has("subgroups") || max === 0) return undefined;
  if (min === max) return min;
  return features.has("subgroup_size") ? Math.max(min, Math.min(max, 32)) : undefined;
}
