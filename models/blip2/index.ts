/** BLIP-2's Q-Former. */
export * from "./bundled.ts";
export { type QformerLossOptions, qformerLoss } from "./losses.ts";
export { blip2Qformer, type QformerConfig } from "./qformer.ts";
export * from "./weights.ts";
