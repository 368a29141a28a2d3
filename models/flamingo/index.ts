/** Flamingo. */
export * from "./bundled.ts";
export { type FlamingoConfig, flamingoLoss, flamingoTrainable } from "./flamingo.ts";
export { flamingoCodec } from "./published-config.ts";
export * from "./weights.ts";
