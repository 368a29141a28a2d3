/** The parts of the runtime that only Node has: multi-process runs, crash-safe trace files, new run folders. */
export { launchOf } from "./collectives/launch.ts";
export type { Launch } from "./collectives/launch-variables.ts";
export { joinRanks } from "./collectives/node-join-ranks.ts";
export { isToReport } from "./collectives/node-start-report.ts";
export { type OpenTrace, openTrace } from "./node-trace-file.ts";
export { freshRunFolder } from "./training/node-fresh-run-folder.ts";
