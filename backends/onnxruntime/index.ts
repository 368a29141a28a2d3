/** onnxruntime owns the cpu device: it runs what the onnx room exports, training steps included, and verifies exported files. */
export { type CpuOptions, cpuBackend } from "./backend.ts";
export { unwrap, wrap } from "./session.ts";
export { type OutputDifference, type Verification, verifyExport } from "./verify.ts";
