/** What of the runtime only Node has: processes that work together, timelines written while a process dies, new run folders. */
export { type Launch, launchOf } from "./collectives/launch.ts";
export { joinRanks } from "./collectives/node-join-ranks.ts";
export { type OpenTrace, openTrace } from "./node-trace-file.ts";
export { freshRunFolder } from "./training/node-fresh-run-folder.ts";
