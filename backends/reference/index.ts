/** The reference interpreter: float64 and plain loops, slow but correct. Every fast path is compared with it. */
export { evaluate, referenceBackend } from "./interpreter.ts";
