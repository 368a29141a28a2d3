/** Device requirements of a bundle's kernels, in WebGPU's names: part of the manifest, checked by run.js. */
import { gridOf, type Kernel, kernelIr } from "../../../compiler/index.ts";
import { deviceFeaturesOf } from "../emit/wgsl.ts";

export interface Requirements {
  readonly features: readonly string[];
  /** Minimum values. */
  readonly limits: Readonly<Record<(typeof limitNames)[number], number>>;
  /** Subgroup sizes that kernels are compiled for; absent if none depends on the size. */
  readonly subgroups?: {
    readonly min: number;
    readonly max: number;
    /** True if kernels request their size, so that the device may also have others; else it must be the only one. */
    readonly chosen: boolean;
  };
  /** Subgroup matrix shapes that kernels multiply, left [m, k] times right [k, n]. */
  readonly matrices: readonly kernelIr.MatrixShape[];
}

const limitNames = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** The buffers of a bundle, and the subgroup sizes of the adapter it is compiled for. */
interface Use {
  /** Bytes of each buffer. */
  readonly buffers: readonly number[];
  readonly dispatches: readonly { readonly bindings: readonly { readonly size: number }[] }[];
  readonly subgroupSizes: kernelIr.KernelFacts["subgroupSizes"];
}

export function requirementsOf(kernels: readonly Kernel[], { buffers, dispatches, subgroupSizes }: Use): Requirements {
  const most = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b), 0);
  const threads = (axis: 0 | 1 | 2) => most(kernels.map((k) => k.workgroup[axis]));
  const features = deviceFeaturesOf(kernels, { subgroupSizes });
  const lanes = kernels.flatMap((k) => k.subgroupSize ?? []);
  const shapes = new Map(kernels.flatMap(kernelIr.matrixShapes).map((shape) => [JSON.stringify(shape), shape]));
  return {
    features,
    limits: {
      maxBufferSize: most(buffers),
      maxStorageBufferBindingSize: most(dispatches.flatMap((d) => d.bindings.map((b) => b.size))),
      maxStorageBuffersPerShaderStage: most(dispatches.map((d) => d.bindings.length)),
      maxComputeWorkgroupStorageSize: most(kernels.map(kernelIr.workgroupStorage)),
      maxComputeInvocationsPerWorkgroup: most(kernels.map(kernelIr.threadsOf)),
      maxComputeWorkgroupSizeX: threads(0),
      maxComputeWorkgroupSizeY: threads(1),
      maxComputeWorkgroupSizeZ: threads(2),
      maxComputeWorkgroupsPerDimension: most(kernels.flatMap((k) => gridOf(k))),
    },
    ...(lanes.length > 0 && {
      subgroups: {
        min: lanes.reduce((a, b) => Math.min(a, b)),
        max: most(lanes),
        chosen: features.includes("subgroup-size-control"),
      },
    }),
    matrices: [...shapes.values()],
  };
}
