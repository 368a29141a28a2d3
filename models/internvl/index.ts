/** The InternVL family. */
export * from "./bundled.ts";
export * from "./chat.ts";
export * from "./contrastive.ts";
export * from "./decoding.ts";
export * from "./generative.ts";
export * from "./generative-losses.ts";
export * from "./internvit.ts";
export * from "./layout.ts";
export * from "./llama.ts";
export * from "./macs.ts";
export * from "./masking.ts";
export * from "./positions.ts";
export * from "./published-config.ts";
export * from "./qllama.ts";
export * from "./stages.ts";
export * from "./weights.ts";
