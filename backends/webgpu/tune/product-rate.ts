/**
 * The matmul throughput that heddle's own kernels reach on an adapter: achievable, where a ceiling is an upper bound.
 */
import { type Axis, compileKernels, kernelIr, makeGraph, ops, UnsupportedError } from "../../../compiler/index.ts";
import { factsOf } from "../runtime/backend.ts";
import type { GpuDevice } from "../runtime/device.ts";
import { timeKernels } from "./time-kernels.ts";

/** Target matmul time at the ceiling, in seconds: long compared with a submission, short for a user. */
const wanted = 10e-3;
const [smallest, largest] = [256, 8192];

/**
 * Operations per second with the adapter's default schedule, without findings. `ceiling` is its peak rate, which
 * determines the matrix size. Throws UnsupportedError if a kernel cannot be timed, or if f16 does not use matrix units.
 */
export async function productRate(gpu: GpuDevice, dtype: "f32" | "f16", ceiling: number): Promise<number> {
  const size = sizeFor(ceiling);
  const axis = (name: string): Axis => ({ name, size });
  const [m, k, n] = [axis("m"), axis("k"), axis("n")];
  const product = ops.contract(ops.input("a", dtype, [m, k]), ops.input("b", dtype, [k, n]), ["k"]);
  const graph = makeGraph("product", [{ name: "c", node: product }]);
  const program = compileKernels(graph, factsOf(gpu), { precision: dtype });
  if (
    dtype === "f16" &&
    !program.kernels.some(({ kernel }) => kernelIr.requiredFeatures(kernel).includes("subgroup_matrix"))
  )
    throw new UnsupportedError(
      "matrix products do not use matrix units here: see heddle inspect --kernels for the reason",
    );
  const times = await timeKernels(gpu, program, program.kernels, {});
  let nanoseconds = 0;
  for (const { name, kernel } of program.kernels) {
    const time = times.get(kernel.body)!;
    if (typeof time === "string")
      throw new UnsupportedError(`cannot time the matrix product kernel "${name}": ${time}`);
    nanoseconds += time;
  }
  return (2 * size ** 3 * 1e9) / nanoseconds;
}

/** A power of two, so that no tile is partial. */
const sizeFor = (ceiling: number): number =>
  Math.min(largest, Math.max(smallest, 2 ** Math.round(Math.log2((wanted * ceiling) / 2) / 3)));
