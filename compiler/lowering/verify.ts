/** Checks that the kernels of a plan or program are well formed and can run on the adapter they were made for. */
import { InternalError } from "../diagnostics/error.ts";
import { checkFeasible, type Kernel, type Stmt, verifyKernel } from "../kernel/index.ts";
import type { AdapterFacts } from "./facts.ts";
import type { LoweredPlan } from "./plan.ts";
import type { Program } from "./program.ts";

/** Throws InternalError if a stage produced a kernel that is malformed or cannot run. */
export const verifyLowered = ({ lowered, facts }: LoweredPlan, stage: string): void =>
  verifyKernels(
    [...lowered.values()].flatMap((shape) => shape.variants.map((v) => v.kernel)),
    facts,
    stage,
  );

/** Throws InternalError if a kernel or variant is malformed or cannot run. Kernels of one shape are verified once. */
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
 * Facts that are not a schedule's responsibility: f16 support and tensor sizes, which a device rejects with its own
 * errors, and open grids, whose declared bound often exceeds what any memory could hold.
 */
const decidedElsewhere = ({ grid }: Kernel, { features, maxWorkgroupsPerDimension }: AdapterFacts) => ({
  features: new Set([...features, "f16" as const]),
  maxBindingBytes: Number.POSITIVE_INFINITY,
  maxWorkgroupsPerDimension: grid.every((g) => g.kind === "const")
    ? maxWorkgroupsPerDimension
    : Number.POSITIVE_INFINITY,
});
