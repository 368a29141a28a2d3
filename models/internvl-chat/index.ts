/** InternVL-Chat 1.2 and 1.5. */
export * from "./bundled.ts";
export * from "./chat.ts";
export * from "./internlm2.ts";
export * from "./published-config.ts";
export * from "./stages.ts";
export * from "./templates.ts";
export * from "./weights.ts";
