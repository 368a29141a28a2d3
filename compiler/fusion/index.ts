/** Operator fusion: which nodes are computed in which kernel, the order of kernels, and the memory plan. */
export { address, type Env, envKey, operandEnv, restrict, settled, sourcesOf, span } from "./access.ts";
export { attentionRows, reducedAxes } from "./cores.ts";
export { type CoresidentProgram, isKept } from "./coresident-programs.ts";
export { fuseGraph, verifyPlan } from "./fuse.ts";
export { partsOfProduct } from "./fuse-norms-into-products.ts";
export { rowsOfProduct } from "./fuse-row-epilogues.ts";
export {
  coresOf,
  countRegions,
  type FusedKernel,
  type Fusion,
  isFree,
  type Part,
  piecesOf,
  type Storage,
  type Store,
} from "./fused-kernel.ts";
export type { Group, Placement } from "./groups.ts";
export { computedNodes, kernelName } from "./kernel-nodes.ts";
export type { FusionLimits, RowParts, RowTiles } from "./materialize.ts";
export { orderKernels } from "./order-kernels.ts";
export { overwritableStates } from "./overwritable.ts";
export type { BufferUse, FusionPlan, MemoryPlan, PlannedMemory } from "./plan.ts";
export { planMemory, slotBytes } from "./plan-memory.ts";
export { rematerialize } from "./rematerialize.ts";
export { samePlan } from "./same-plan.ts";
export { deviceBytes, dimExpr, indexOver, isMultipleOf, isOne, spanOf, typical, typicalSpan } from "./sizes.ts";
export { parsePlan } from "./text/parse-plan.ts";
export { printMemory, printPlan } from "./text/print-plan.ts";
