/**
 * The device of this machine as hardware to plan for: its own facts, and rates that were measured on it. Those of operations are
 * what heddle's own products reach: a forecast, where the ceilings of the adapter would be a bound.
 */
import { totalmem } from "node:os";
import { factsOf } from "../../backends/webgpu/index.ts";
import { requestDevice } from "../../backends/webgpu/node-index.ts";
import { UsageError } from "../../compiler/index.ts";
import { ceilingsOf } from "../ceilings.ts";
import type { PlannedDevice } from "./cluster-plan.ts";
import type { HardwareText, Link } from "./hardware-text.ts";

/** Runs `body` with the device that `hardwareHere` tells of. */
export async function withDeviceHere<T>(body: (gpu: GpuDevice) => Promise<T>): Promise<T> {
  const gpu = await requestDevice({ prefer: "hardware" });
  try {
    return await body(gpu);
  } finally {
    gpu.dispose();
  }
}

type GpuDevice = Awaited<ReturnType<typeof requestDevice>>;

/** Throws UsageError where more than one is asked for and nothing is said to join them. WebGPU does not say how much memory a GPU has; a software one has the machine's. */
export async function hardwareHere({
  count,
  link,
}: HardwareText): Promise<{ device: PlannedDevice; count: number; link?: Link }> {
  if (count !== 1 && !link)
    throw new UsageError(
      `say what joins ${count} devices like the one here, as in "${count}×here,MPI-9.6G": heddle devices --measure tells it under mpirun`,
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
