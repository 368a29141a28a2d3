/** What this room takes from the compiler beside the graph: the kernel IR and the pipeline that ends in it. */
export type { BufferParam, Expr, Kernel, KernelKind, Stmt } from "../../compiler/kernel/index.ts";
export {
  type AdapterFacts,
  type Binding,
  compileKernels,
  type Program,
  type ProgramKernel,
  type Schedule,
  scheduleFor,
} from "../../compiler/passes/webgpu-pipeline.ts";
