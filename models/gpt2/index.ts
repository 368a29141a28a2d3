/** GPT-2. */
export * from "./bundled.ts";
export * from "./gpt2.ts";
export * from "./published-config.ts";
export * from "./weights.ts";
