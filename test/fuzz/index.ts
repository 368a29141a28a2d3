/** The fuzzer finds graphs on which executors disagree: drawn at random, shrunk, and printed as text that replays. */
import { main } from "./command.ts";

process.exitCode = await main(process.argv.slice(2));
