/** The command line: parses arguments and calls commands, each loaded on demand. */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { Command, CommanderError } from "commander";
import { heddleVersion } from "../api/node-index.ts";
import { setSourceReader, switchHelp } from "../compiler/index.ts";
import type { OpenTrace } from "../runtime/node-index.ts";
import { checkTypes } from "./check-types.ts";
import { faultText } from "./fault-text.ts";
import { helpStyle } from "./help.ts";
import { leaveNoTemporaries } from "./interruption.ts";
import { dataCommands } from "./options/data.ts";
import { filesCommands } from "./options/files.ts";
import { modelsCommands } from "./options/models.ts";
import { projectCommands } from "./options/project.ts";
import { runningCommands } from "./options/running.ts";
import type { Done } from "./options/shared.ts";
import { trainingCommands } from "./options/training.ts";
import { readableFault } from "./readable-fault.ts";

const framesKept = 64;

/** Commands too short to profit from a larger young generation: a second's work leaves 100 MB of garbage. */
const brief: readonly string[] = ["inspect"];

/** Commands that ranks run together. */
const ofRanks: readonly string[] = ["train", "devices"];

/** Runs one command and returns the exit status: 0, 1 for a user's mistake, 2 for an internal error. */
export async function main(argv: readonly string[]): Promise<number> {
  setSourceReader(readSource);
  Error.stackTraceLimit = Math.max(Error.stackTraceLimit, framesKept); // the user's frame may be below many of ours
  let status = 0;
  let trace: OpenTrace | undefined;
  const tidy = leaveNoTemporaries();
  const usage: string[] = [];
  const program = commands((code) => {
    status = code;
  }, usage).hook("preAction", async (command, chosen) => {
    if (!brief.includes(chosen.name())) setFlagsFromString("--semi-space-growth-factor=2"); // V8's default
    const { trace: file } = command.opts<{ readonly trace?: string }>();
    if (file !== undefined) trace ??= await openTrace(file);
    if (chosen.opts<{ readonly checkTypes?: boolean }>().checkTypes) await checkTypes(chosen.args[0]!);
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return status;
  } catch (error) {
    if (ofRanks.some((name) => argv.includes(name)) && !(await isReportedHere())) return 1;
    process.stderr.write(usage.join(""));
    return report(error);
  } finally {
    trace?.dispose();
    tidy.dispose();
  }
}

/** Whether an error is this process's to report: ranks of one launch usually have the same one. */
async function isReportedHere(): Promise<boolean> {
  const { isToReport, launchOf } = await import("../runtime/node-index.ts");
  const launch = launchOf(process.env);
  return !launch || (await isToReport(launch));
}

/** Each rank writes its own file: all but the first add their number to the name. */
async function openTrace(file: string): Promise<OpenTrace> {
  const { launchOf, openTrace: open } = await import("../runtime/node-index.ts");
  const rank = launchOf(process.env)?.rank ?? 0;
  return open(rank === 0 ? file : `${file}.rank-${rank}`);
}

/** What is wrong with arguments is added to `usage`. */
function commands(done: Done, usage: string[]): Command {
  const program = new Command("heddle")
    .configureOutput({ writeErr: (text) => void usage.push(text) })
    .configureHelp(helpStyle)
    .description("Declare vision-language models in TypeScript; train them, compile them to WebGPU and ONNX.")
    .version(heddleVersion())
    .exitOverride()
    .option("--trace <file>", "write a timeline of the command, for ui.perfetto.dev")
    .addHelpText("after", environmentHelp);
  projectCommands(program, done);
  modelsCommands(program, done);
  trainingCommands(program, done);
  filesCommands(program, done);
  runningCommands(program, done);
  dataCommands(program, done);
  for (const command of program.commands) command.exitOverride();
  return program;
}

const environmentHelp = `
Environment:
${switchHelp.map((s) => `  ${s.example.padEnd(44)} ${s.help}`).join("\n")}
  HEDDLE_ADAPTER=system|swiftshader|lavapipe   the WebGPU adapter to use
  HEDDLE_TUNING=off                            ignore the results of heddle tune
  HEDDLE_CACHE=<folder>                        where heddle tune keeps its results
  HEDDLE_MPI=<file>                            the MPI library for heddle train on several devices`;

function readSource(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined; // an error without its source line is still an error
  }
}

/**
 * Reports an error and returns the exit status. A user's mistake is one message; only internal errors show a stack
 * trace.
 */
export function report(thrown: unknown): number {
  const error = readableFault(thrown);
  if (error instanceof CommanderError) return error.exitCode;
  const { text, status } = faultText(error);
  if (text !== "") process.stderr.write(`${text}\n`);
  return status;
}
