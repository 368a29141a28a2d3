/** The fuzzer owns finding graphs on which executors disagree: random ones, made small, as text that replays. */
import { main } from "./command.ts";

process.exitCode = await main(process.argv.slice(2));
