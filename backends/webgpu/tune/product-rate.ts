/** How fast heddle's own product of two matrices is on an adapter: what a forecast can count on, where a ceiling is a bound. */
import { type Axis, compileKernels, kernelIr, makeGraph, ops, UnsupportedError } from "../../../compiler/index.ts";
import { factsOf } from "../runtime/backend.ts";
import type { GpuDevice } from "../runtime/device.ts";
import { timeKernels } from "./time-kernels.ts";

/** What the product should take at the ceiling, in seconds: long beside a submission, short beside a person's patience. */
const wanted = 10e-3;
const [smallest, largest] = [256, 8192];

/**
 * Operations a second, by the schedule that the adapter is given without findings. `ceiling` is what it can do at most,
 * which decides the size. Throws UnsupportedError where no kernel computes it, or in f16 not on matrix units.
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
    throw new UnsupportedError("products take no matrix units here: heddle inspect --kernels says why");
  const times = await timeKernels(gpu, program, program.kernels, {});
  let nanoseconds = 0;
  for (const { name, kernel } of program.kernels) {
    const time = times.get(kernel.body)!;
    if (typeof time === "string") throw new UnsupportedError(`kernel "${name}" of a product was not timed: ${time}`);
    nanoseconds += time;
  }
  return (2 * size ** 3 * 1e9) / nanoseconds;
}

/** A power of two, so that no tile is cut. */
const sizeFor = (ceiling: number): number =>
  Math.min(largest, Math.max(smallest, 2 ** Math.round(Math.log2((wanted * ceiling) / 2) / 3)));
