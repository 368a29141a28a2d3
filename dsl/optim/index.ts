/** Optimizers and schedules: graphs like everything else. */
export * from "./adamw.ts";
export * from "./clip.ts";
export * from "./schedule.ts";
