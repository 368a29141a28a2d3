/** The passes own what becomes of graphs: each is a pure function from graph to graph. */
export * from "./arena.ts";
export { canonicalize } from "./canonicalize.ts";
export * from "./cost.ts";
export * from "./decompose.ts";
export * from "./differentiate.ts";
export { fold, mostFoldedElements } from "./fold.ts";
export { fuseAttention } from "./fuse-attention.ts";
export * from "./half-precision.ts";
export { joinPads } from "./join-pads.ts";
export * from "./parameter-dtype.ts";
export * from "./partition.ts";
export { prune } from "./prune.ts";
export * from "./quantize-parameters.ts";
export { noSampleMean } from "./sample-mean.ts";
export { type ProductsOn, splitContractions } from "./split-contractions.ts";
export { splitKeys } from "./split-keys.ts";
export { splitReductions } from "./split-reductions.ts";
export { splitStrides } from "./split-strides.ts";
