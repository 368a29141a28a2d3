/** Optimizers and learning-rate schedules, expressed as graphs. */
export * from "./adamw.ts";
export * from "./clip.ts";
export * from "./lamb.ts";
export * from "./lion.ts";
export * from "./schedule.ts";
export * from "./sgd.ts";
export * from "./update-rule.ts";
