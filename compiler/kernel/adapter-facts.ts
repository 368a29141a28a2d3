/**
 * Adapter capabilities: limits, subgroups, matrix shapes. Recorded for some adapters, so that schedules can be checked
 * on a machine without them; for an open device, they are queried.
 */
import type { KernelFeature } from "./features.ts";

/** Element types of matrices; the kernel IR has no 8-bit type yet. */
export type ComponentType = "f32" | "f16" | "i32" | "u32" | "i8" | "u8";

/** result [m, n] += left [m, k] × right [k, n]. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly operands: ComponentType;
  readonly result: ComponentType;
}

/** The capabilities that a kernel is checked against. */
export interface KernelFacts {
  /** Storage buffers per kernel. */
  readonly maxBindings: number;
  /** Bytes per storage buffer binding. */
  readonly maxBindingBytes: number;
  readonly maxWorkgroupInvocations: number;
  /** Threads per workgroup along x, y and z. */
  readonly maxWorkgroupSize: readonly [number, number, number];
  /** Bytes of shared memory per workgroup. */
  readonly maxWorkgroupStorage: number;
  readonly maxWorkgroupsPerDimension: number;
  readonly features: ReadonlySet<KernelFeature>;
  /** Lanes per subgroup; both 0 without subgroups. */
  readonly subgroupSizes: { readonly min: number; readonly max: number };
  /** Subgroups per workgroup if the kernel chooses the subgroup size; no extra limit if absent. */
  readonly maxSubgroups?: number;
  readonly matrices: readonly MatrixShape[];
  /** Streaming multiprocessors (compute units) that run workgroups independently, if known. */
  readonly multiprocessors?: number;
}

/** The most subgroups per workgroup. */
export const maxSubgroupsOf = ({ maxSubgroups }: KernelFacts): number => maxSubgroups ?? Number.POSITIVE_INFINITY;

/** WebGPU's guaranteed limits: kernels compiled for these run on every adapter. */
export const guaranteedFacts: KernelFacts = {
  maxBindings: 8,
  maxBindingBytes: 2 ** 27,
  maxWorkgroupInvocations: 256,
  maxWorkgroupSize: [256, 256, 64],
  maxWorkgroupStorage: 16384,
  maxWorkgroupsPerDimension: 65535,
  features: new Set(),
  subgroupSizes: { min: 0, max: 0 },
  matrices: [],
};

export interface RecordedAdapter {
  /** `software`: kernels run on CPU threads; default false. */
  readonly facts: KernelFacts & { readonly software?: boolean };
  /** Whether we queried the adapter ourselves, or the values were published by others. */
  readonly basis: "measured" | "published";
  /** The source, with the date if it may change. */
  readonly source: string;
}

const shapes = (
  operands: ComponentType,
  result: ComponentType,
  sizes: readonly (readonly [m: number, n: number, k: number])[],
): MatrixShape[] => sizes.map(([m, n, k]) => ({ m, n, k, operands, result }));

const nvidia = [
  [16, 16, 16],
  [16, 8, 16],
  [16, 8, 8],
] as const;
const nvidiaBytes = [
  [16, 16, 32],
  [16, 8, 32],
] as const;

/** Limits that the adapters below share: Dawn's on desktops. */
const desktop = {
  maxBindings: 16,
  maxBindingBytes: 2 ** 31 - 4,
  maxWorkgroupInvocations: 1024,
  maxWorkgroupSize: [1024, 1024, 64],
  maxWorkgroupsPerDimension: 65535,
} as const;

export const recordedAdapters = {
  "nvidia-h200": {
    basis: "measured",
    source:
      "Vulkan, driver 580.159.04, npm webgpu 0.6.2 with vulkan_enable_f16_on_nvidia and allow_unsafe_apis; 2026-11-28",
    facts: {
      ...desktop,
      maxWorkgroupStorage: 48 * 1024,
      features: new Set(["f16", "subgroups", "subgroup_size", "subgroup_matrix"]),
      subgroupSizes: { min: 32, max: 32 },
      matrices: [
        ...shapes("f16", "f16", nvidia),
        ...shapes("f16", "f32", nvidia),
        ...shapes("u8", "u32", nvidiaBytes),
        ...shapes("i8", "i32", nvidiaBytes),
      ],
      multiprocessors: 132,
    },
  },
  "amd-rdna3": {
    basis: "published",
    source:
      "Mesa, src/amd/vulkan/radv_physical_device.c: VK_KHR_cooperative_matrix on GFX11 is 16x16x16; subgroups of 32 and 64; 64 KiB of shared memory",
    facts: {
      ...desktop,
      maxWorkgroupStorage: 64 * 1024,
      features: new Set(["f16", "subgroups", "subgroup_size", "subgroup_matrix"]),
      subgroupSizes: { min: 32, max: 64 },
      matrices: [
        ...shapes("f16", "f16", [[16, 16, 16]]),
        ...shapes("f16", "f32", [[16, 16, 16]]),
        ...shapes("u8", "u32", [[16, 16, 16]]),
        ...shapes("i8", "i32", [[16, 16, 16]]),
      ],
    },
  },
  "intel-xe2": {
    basis: "published",
    source:
      "onnxruntime, contrib_ops/webgpu/quantization/subgroup_matrix_matmul_nbits.cc: 8x16x16, subgroups of 16 to 32 (Xe2, Xe3); Mesa, src/intel/dev/intel_device_info.c: f16 to f32 beside f16 to f16 on every generation, src/intel/executor/examples/dpas.hf_f.lua: 16 columns from Xe2 on; gpuweb issue 5545: 56 subgroups a workgroup; 32 KiB of workgroup memory is Dawn's tier",
    facts: {
      ...desktop,
      maxWorkgroupStorage: 32 * 1024,
      features: new Set(["f16", "subgroups", "subgroup_size", "subgroup_matrix"]),
      subgroupSizes: { min: 16, max: 32 },
      maxSubgroups: 56,
      matrices: [...shapes("f16", "f16", [[8, 16, 16]]), ...shapes("f16", "f32", [[8, 16, 16]])],
    },
  },
  "apple-m": {
    basis: "published",
    source:
      "onnxruntime, contrib_ops/webgpu/quantization/subgroup_matrix_matmul_nbits.cc: f16 and f32 8x8x8, subgroups of 32; gpuweb issue 6240: no choice of a subgroup size on Metal; Metal feature set tables: 32 KiB of threadgroup memory",
    facts: {
      ...desktop,
      maxBindings: 10,
      maxWorkgroupStorage: 32 * 1024,
      features: new Set(["f16", "subgroups", "subgroup_matrix"]),
      subgroupSizes: { min: 32, max: 32 },
      matrices: [...shapes("f16", "f16", [[8, 8, 8]]), ...shapes("f32", "f32", [[8, 8, 8]])],
    },
  },
  swiftshader: {
    basis: "measured",
    source:
      "the SwiftShader of Chromium 149 (npm @sparticuz/chromium), whose pages have 10 bindings a kernel and no choice of a subgroup size, and of npm webgpu 0.6.2, which has 12 and the choice; 2026-11-29",
    facts: {
      software: true,
      maxBindings: 10,
      maxBindingBytes: 2 ** 30,
      maxWorkgroupInvocations: 256,
      maxWorkgroupSize: [256, 256, 64],
      maxWorkgroupStorage: 32 * 1024,
      maxWorkgroupsPerDimension: 65535,
      features: new Set(["subgroups"]),
      subgroupSizes: { min: 4, max: 4 },
      matrices: [],
    },
  },
} as const satisfies Readonly<Record<string, RecordedAdapter>>;
