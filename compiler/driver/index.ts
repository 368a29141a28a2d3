/** The driver owns how pipelines run: forms, stages, the one way to run them, and what observes them. */
export * from "./driver.ts";
export * from "./observers.ts";
export { inspectionPage } from "./page.ts";
export * from "./stage.ts";
