/** Whether the kernels of a plan or a program are well formed, and what the adapter that they were made for can run. */
import { InternalError } from "../diagnostics/error.ts";
import { checkFeasible } from "../kernel/feasible.ts";
import type { Kernel, Stmt } from "../kernel/kernel.ts";
import { verifyKernel } from "../kernel/verify.ts";
import type { AdapterFacts } from "./facts.ts";
import type { LoweredPlan } from "./plan.ts";
import type { Program } from "./program.ts";

/** Throws InternalError where a stage made a kernel that is malformed or cannot run. */
export const verifyLowered = ({ lowered, facts }: LoweredPlan, stage: string): void =>
  verifyKernels(
    [...lowered.values()].flatMap((shape) => shape.variants.map((v) => v.kernel)),
    facts,
    stage,
  );

/** Throws InternalError where a kernel, or a variant of one, is malformed or cannot run; kernels of one shape are verified once. */
export const verifyProgram = ({ kernels, facts }: Program, stage: string): void =>
  verifyKernels(
    kernels.flatMap((k) => [...k.special, k].map((v) => v.kernel)),
    facts,
    stage,
  );

function verifyKernels(kernels: readonly Kernel[], facts: AdapterFacts, stage: string): void {
  const seen = new Set<readonly Stmt[]>();
  for (const kernel of kernels) {
    if (seen.has(kernel.body)) continue;
    seen.add(kernel.body);
    verifyKernel(kernel);
    const reasons = checkFeasible(kernel, { ...facts, ...decidedElsewhere(kernel, facts) });
    if (reasons.length > 0)
      throw new InternalError(`after stage "${stage}", kernel "${kernel.name}" cannot run: ${reasons.join("; ")}`);
  }
}

/**
 * What no schedule decides: halves and the sizes of tensors, which a device refuses by their names, and grids that are open
 * until a run, whose bound is often more than any memory holds.
 */
const decidedElsewhere = ({ grid }: Kernel, { features, maxWorkgroupsPerDimension }: AdapterFacts) => ({
  features: new Set([...features, "f16" as const]),
  maxBindingBytes: Number.POSITIVE_INFINITY,
  maxWorkgroupsPerDimension: grid.every((g) => g.kind === "const")
    ? maxWorkgroupsPerDimension
    : Number.POSITIVE_INFINITY,
});
