/**
 * This machine's device as hardware to plan for: its own facts, and rates measured on it. Its operation rates are those
 * of heddle's own matmuls, so plans are forecasts, not bounds.
 */
import { totalmem } from "node:os";
import { factsOf } from "../../backends/webgpu/index.ts";
import { requestDevice } from "../../backends/webgpu/node-index.ts";
import { UsageError } from "../../compiler/index.ts";
import { ceilingsOf } from "../ceilings.ts";
import type { PlannedDevice } from "./cluster-plan.ts";
import type { HardwareText, Link } from "./hardware-text.ts";

/** Runs `body` with the device of `hardwareHere`. */
export async function withDeviceHere<T>(body: (gpu: GpuDevice) => Promise<T>): Promise<T> {
  const gpu = await requestDevice({ prefer: "hardware" });
  try {
    return await body(gpu);
  } finally {
    gpu.dispose();
  }
}

type GpuDevice = Awaited<ReturnType<typeof requestDevice>>;

/**
 * This machine's device as a cluster. Throws UsageError if more than one is requested without an interconnect. WebGPU
 * does not report a GPU's memory; a software adapter has the machine's.
 */
export async function hardwareHere({
  count,
  link,
}: HardwareText): Promise<{ device: PlannedDevice; count: number; link?: Link }> {
  if (count !== 1 && !link)
    throw new UsageError(
      `give the interconnect of ${count} devices like the one here, as in "${count}×here,MPI-9.6G": heddle devices --measure reports it under mpirun`,
    );
  return await withDeviceHere(async (gpu) => {
    const { ceilings } = await ceilingsOf(gpu);
    const { copy, product, matrixProduct, dispatch } = ceilings;
    const peaks = { copy, f32: product, dispatch, ...(matrixProduct !== undefined && { matrices: matrixProduct }) };
    const { description: name, software } = gpu.adapter;
    const memory = software ? { memory: totalmem() } : {};
    return {
      count,
      ...(link && { link }),
      device: { name, ...memory, facts: factsOf(gpu), peaks, source: "measured here" },
    };
  });
}
