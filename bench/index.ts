/** The bench owns measuring: heddle side by side with other libraries, on one device, in one run, the same outputs first. */
import { main } from "./command.ts";
import { loadBench } from "./load.ts";

const [what, ...rest] = process.argv.slice(2);
process.exitCode = what === "load" ? await loadBench(rest) : await main(process.argv.slice(2));
