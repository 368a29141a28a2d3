/** The kernel IR: one GPU dispatch as loops, loads, stores and index expressions. */
export * from "./adapter-facts.ts";
export * from "./evaluate.ts";
export * from "./expr.ts";
export * from "./feasible.ts";
export * from "./features.ts";
export * from "./hoist.ts";
export { type Access, unprovenAccesses } from "./in-bounds.ts";
export * from "./interpret.ts";
export * from "./keep-loops.ts";
export * from "./kernel.ts";
export { opResult } from "./op-result.ts";
export { printExpr, printKernel } from "./print.ts";
export * as index from "./simplify.ts";
export * from "./sizes.ts";
export { checkKernelText, type KernelTextResult, parseKernel, parseKernels } from "./text/parse.ts";
export * from "./vectorize.ts";
export type { Fault } from "./verify/fault.ts";
export * from "./verify.ts";
