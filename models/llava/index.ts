/** LLaVA-1.5. */
export * from "./bundled.ts";
export * from "./llava.ts";
export * from "./published-config.ts";
export * from "./stages.ts";
export * from "./weights.ts";
