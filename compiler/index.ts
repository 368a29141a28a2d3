/** The compiler owns what a graph means and how it is transformed; it touches no device and no file. */
export * from "./diagnostics/did-you-mean.ts";
export * from "./diagnostics/error.ts";
export { type Mistake, renderMistakes } from "./diagnostics/render.ts";
export * from "./diagnostics/source-location.ts";
export * from "./diagnostics/switches.ts";
export * from "./driver/index.ts";
export type { BufferUse, MemoryPlan } from "./fusion/plan-memory.ts";
export * from "./ir/build.ts";
export * from "./ir/dim.ts";
export * from "./ir/dtype.ts";
export * from "./ir/graph.ts";
export * from "./ir/host-tensor.ts";
export * from "./ir/initializer.ts";
export * from "./ir/node.ts";
export * from "./ir/op.ts";
export { checkGraphText, type ParseResult, parseGraph } from "./ir/parse.ts";
export { printGraph } from "./ir/print.ts";
export * from "./ir/type.ts";
export * from "./ir/verify.ts";
export { printKernel } from "./kernel/index.ts";
export * as ops from "./ops/index.ts";
export * from "./passes/arena.ts";
export { canonicalize } from "./passes/canonicalize.ts";
export * from "./passes/cost.ts";
export * from "./passes/decompose.ts";
export * from "./passes/differentiate.ts";
export { fold } from "./passes/fold.ts";
export { fuseAttention } from "./passes/fuse-attention.ts";
export * from "./passes/parameter-dtype.ts";
export * from "./passes/partition.ts";
export { prune } from "./passes/prune.ts";
export { commonPasses, commonStagesBut } from "./pipelines/common.ts";
export { referenceStages } from "./pipelines/reference.ts";
export { type ProgramRun, runProgram } from "./pipelines/run-program.ts";
export {
  type AdapterFacts,
  baselineFacts,
  compileKernels,
  type Program,
  type ProgramKernel,
  scheduleFor,
  webgpuStages,
} from "./pipelines/webgpu.ts";
export type { Rule, RuleEvent, RuleObserver } from "./rewrite/index.ts";
export * as rewrite from "./rewrite/index.ts";
