/** The bench owns measuring: heddle side by side with other libraries, on one device, in one run, the same outputs first. */
import { main } from "./command.ts";

process.exitCode = await main(process.argv.slice(2));
