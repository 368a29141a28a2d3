/** The InternVL family. */
export * from "./contrastive.ts";
export * from "./internvit.ts";
export * from "./llama.ts";
