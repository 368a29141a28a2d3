/** The reference interpreter: float64, plain loops, slow and right. Every fast path is compared with it. */
export { evaluate, referenceBackend } from "./interpreter.ts";
