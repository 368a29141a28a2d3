/** What the kernels of a bundle need of a device, in WebGPU's names: part of the manifest, checked by run.js. */
import { gridOf, type Kernel, kernelIr } from "../../../compiler/index.ts";
import { deviceFeaturesOf } from "../emit/wgsl.ts";

export interface Requirements {
  readonly features: readonly string[];
  /** Each at least so large. */
  readonly limits: Readonly<Record<(typeof limitNames)[number], number>>;
  /** Lanes of the subgroups that kernels are made for; absent where none depends on it. */
  readonly subgroups?: {
    readonly min: number;
    readonly max: number;
    /** True where kernels ask for their size, so that the device may have others besides; else it has to be the only one. */
    readonly chosen: boolean;
  };
  /** Shapes of the matrices that kernels multiply, left [m, k] times right [k, n]. */
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

/** The memory of a bundle, and the adapter that its kernels are made for. */
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
