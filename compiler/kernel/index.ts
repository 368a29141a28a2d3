/** The kernel IR: what one GPU dispatch does, as loops, loads, stores and index algebra. */
export * from "./expr.ts";
export * from "./hoist.ts";
export * from "./interpret.ts";
export * from "./kernel.ts";
export * from "./print.ts";
export * as index from "./simplify.ts";
export * from "./vectorize.ts";
export * from "./verify.ts";
