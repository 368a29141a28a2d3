/** Layers: functions from tensors to tensors that declare their parameters in a given scope. */
export * from "./attention-pooling.ts";
export * from "./axes.ts";
export * from "./batch-norm.ts";
export * from "./cache.ts";
export * from "./convolution.ts";
export * from "./decoding.ts";
export * from "./drop-path.ts";
export * from "./dropout.ts";
export * from "./embedding.ts";
export * from "./linear.ts";
export * from "./mlp.ts";
export * from "./multi-head-attention.ts";
export * from "./norm.ts";
export * from "./positions.ts";
export * from "./residual.ts";
export * from "./resize.ts";
export * from "./rotary.ts";
