/** The compiler owns what a graph means and how it is transformed; it touches no device and no file. */
export * from "./diagnostics/did-you-mean.ts";
export * from "./diagnostics/error.ts";
export { type Mistake, renderMistakes } from "./diagnostics/render.ts";
export * from "./diagnostics/source-location.ts";
export * from "./diagnostics/switches.ts";
export * from "./driver/driver.ts";
export * from "./driver/observers.ts";
export { inspectionPage } from "./driver/page.ts";
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
export type { BufferParam, Expr, Kernel, Stmt } from "./kernel/index.ts";
export * as kernelIr from "./kernel/index.ts";
export { parseKernel, printKernel } from "./kernel/index.ts";
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
export { commonPasses } from "./pipelines/common.ts";
export {
  type AdapterFacts,
  baselineFacts,
  compileKernels,
  type Program,
  type ProgramKernel,
  scheduleFor,
} from "./pipelines/webgpu.ts";
export type { Rule, RuleEvent, RuleObserver } from "./rewrite/index.ts";
export * as rewrite from "./rewrite/index.ts";
