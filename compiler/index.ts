/** The compiler: the semantics of graphs and their lowering to kernels. It touches no device and no file. */
export * from "./diagnostics/did-you-mean.ts";
export * from "./diagnostics/error.ts";
export { escapeHtml, type Html, html, trusted } from "./diagnostics/html.ts";
export { type Mistake, renderMistakes } from "./diagnostics/render.ts";
export { shown } from "./diagnostics/shown.ts";
export * from "./diagnostics/source-location.ts";
export * from "./diagnostics/switches.ts";
export * from "./diagnostics/timeline.ts";
export * from "./driver/index.ts";
export { type BufferUse, deviceBytes, type MemoryPlan, slotBytes } from "./fusion/index.ts";
export type { Accumulator, Fold, IndexAlgebra, Indexing, IndexMap, ScalarAlgebra } from "./ir/algebra.ts";
export * from "./ir/build.ts";
export * from "./ir/dim.ts";
export * from "./ir/dtype.ts";
export * from "./ir/graph.ts";
export * from "./ir/host-tensor.ts";
export * from "./ir/image-size.ts";
export * from "./ir/initializer.ts";
export * from "./ir/node.ts";
export * from "./ir/op.ts";
export { checkGraphText, type ParseResult, parseGraph } from "./ir/parse.ts";
export { printGraph, printUnrolled } from "./ir/print.ts";
export * from "./ir/type.ts";
export * from "./ir/typed.ts";
export * from "./ir/verify.ts";
export type { BufferParam, Expr, Kernel, Stmt } from "./kernel/index.ts";
export * as kernelIr from "./kernel/index.ts";
export { parseKernel, printKernel } from "./kernel/index.ts";
export * as lowering from "./lowering/index.ts";
export {
  type AdapterFacts,
  baselineFacts,
  type Finding,
  type Findings,
  foundKernels,
  gridOf,
  type KernelVariant,
  largestArray,
  memoryOf,
  type Program,
  type ProgramKernel,
  type TensorBinding,
  tensorName,
  variantFor,
} from "./lowering/index.ts";
export * as ops from "./ops/index.ts";
export * from "./passes/index.ts";
export { commonPasses, commonStagesBut } from "./pipelines/common.ts";
export { fusedNodes } from "./pipelines/fused-nodes.ts";
export { type BoundKernels, type KindsOfMemory, type MemoryByKind, memoryByKind } from "./pipelines/memory-by-kind.ts";
export { type PlannedKernel, type PlannedProgram, planKernels } from "./pipelines/planned-kernels.ts";
export { type PrecisionAsked, type PrecisionPath, precisionPath } from "./pipelines/precision.ts";
export { referenceStages } from "./pipelines/reference.ts";
export { type ProgramRun, runProgram } from "./pipelines/run-program.ts";
export { type Candidate, type TunableKernel, tunableKernels } from "./pipelines/tuning.ts";
export { compileKernels, halvesInMemory, type KernelOptions, webgpuStages } from "./pipelines/webgpu.ts";
export type { Rule, RuleEvent, RuleObserver } from "./rewrite/index.ts";
export * as rewrite from "./rewrite/index.ts";
