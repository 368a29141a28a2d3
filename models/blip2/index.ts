/** BLIP-2: the Q-Former, and the full captioning model. */
export * from "./bundled.ts";
export { type QformerLossOptions, qformerLoss } from "./losses.ts";
export { blip2Codec, qformerCodec } from "./published-config.ts";
export { blip2Qformer, type QformerConfig } from "./qformer.ts";
export * from "./weights.ts";
export type { Blip2Config } from "./writing.ts";
