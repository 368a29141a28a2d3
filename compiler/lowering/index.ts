/** The lowering owns how fused nodes become kernels: schedules in tables, and what they are written with. */
export { dimExpr, spanOf, typical } from "../fusion/sizes.ts";
export { type AdapterFacts, baselineFacts, independentThreads, noSharing } from "./facts.ts";
export { ceilDiv, guarded, type KernelCode, type Lowering, unflatten } from "./kernel.ts";
export * from "./loops.ts";
export * from "./program.ts";
export * from "./schedule.ts";
export type { RowProblem } from "./schedules/row-reduction/problem.ts";
export { lowerRow, type Sharing } from "./schedules/row-reduction/row-lowering.ts";
export * from "./schedules/tables.ts";
export { registerType } from "./values.ts";
