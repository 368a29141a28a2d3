/** The compiler owns what a graph means and how it is transformed; it touches no device and no file. */
export * from "./diagnostics/error.ts";
export * from "./ir/dtype.ts";
export * from "./ir/host-tensor.ts";
