/**
 * onnxruntime is the cpu device: it runs what backends/onnx exports, training steps included, and verifies exported
 * files.
 */
export { type CpuOptions, cpuBackend } from "./backend.ts";
export { roundsOperands } from "./exact-products.ts";
export { cpuMissing, unwrap, wrap } from "./session.ts";
export { type OutputDifference, type Verification, verifyExport } from "./verify.ts";
