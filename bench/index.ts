/** The bench owns measuring: heddle side by side with other libraries, on one device, in one run, the same outputs first. */
import { main } from "./command.ts";
import { marksCommand } from "./marks/command.ts";

const [first, ...rest] = process.argv.slice(2);
process.exitCode = first === "marks" ? await marksCommand(rest) : await main(process.argv.slice(2));
