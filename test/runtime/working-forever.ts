/** A process that shows progress on what it takes for a terminal, until a signal ends it. */
import { startProgress } from "../../runtime/index.ts";

const stream = Object.assign(process.stderr, { isTTY: true, columns: 80 });
const progress = startProgress({ description: "work", total: 100, stream });
progress.update(50);
