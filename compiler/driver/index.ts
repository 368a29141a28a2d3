/** The pass manager: program forms, stages between them, `runStages`, and observers. */
export * from "./driver.ts";
export * from "./observers.ts";
export { inspectionPage } from "./page.ts";
export * from "./stage.ts";
