/** Lowering: turns fused kernels into kernel IR by tables of schedules; also what schedules are written with. */
export { dimExpr, spanOf, typical } from "../fusion/index.ts";
export { largestArray, tensorName } from "./addressable.ts";
export { type AdapterFacts, baselineFacts, independentThreads, noSharing } from "./facts.ts";
export * from "./findings.ts";
export { fuseForUpdates, updateInPlace } from "./in-place.ts";
export { ceilDiv, guarded, type KernelCode, type Lowering, unflatten } from "./kernel.ts";
export * from "./loops.ts";
export {
  type Alternatives,
  alternativesOf,
  type LoweredPlan,
  lowerPlan,
  mapKernels,
  onlyKernel,
  rowPartsOf,
  rowTilesOf,
  type ScheduledPlan,
  schedulePlan,
} from "./plan.ts";
export { printLowered, printProgram, printSchedules } from "./print.ts";
export * from "./program.ts";
export * from "./schedule.ts";
export { hasAttentionKernel } from "./schedules/attention/problem.ts";
export type { RowProblem } from "./schedules/row-reduction/problem.ts";
export { lowerRow, type Sharing } from "./schedules/row-reduction/row-lowering.ts";
export * from "./schedules/tables.ts";
export { registerType } from "./values.ts";
export { verifyLowered, verifyProgram } from "./verify.ts";
