/** The command line of the benchmark: which cases, how often, and where the report goes. */
import { Command, InvalidArgumentError } from "commander";
import { HeddleError, UsageError } from "../compiler/index.ts";
import { writeFileAtomically } from "../runtime/index.ts";
import { type Case, type ContenderName, cases } from "./cases.ts";
import { readEnvironment } from "./environment.ts";
import { measureAlone } from "./fresh-process.ts";
import { installPeers } from "./peers/install.ts";
import { printReport } from "./print.ts";
import { type CaseReport, type Report, reportCase } from "./report.ts";
import { type ContenderResult, type RunOptions, runCase } from "./run-case.ts";
import type { KernelFigures } from "./subject.ts";

interface Options {
  readonly rounds: number;
  readonly timed?: number;
  readonly profile: boolean;
  readonly json: boolean;
  readonly out?: string;
}

const groups = [...new Set(cases.map((c) => c.group))];

/** Runs the benchmark and returns the exit status: 0 when heddle was measured in every case, else 1. */
export async function main(argv: readonly string[]): Promise<number> {
  let status = 1;
  const program = new Command("bench")
    .description("Measure heddle side by side with other libraries on this machine's WebGPU device.")
    .argument(
      "[what...]",
      `any of ${groups.join(", ")}; default all but export-full; marks, load, plan, random and ranks are commands of their own: bench marks --help`,
    )
    .option("--rounds <n>", "how often every contender gets a turn", wholeNumber, 3)
    .option("--timed <n>", "at most this many timed repetitions of a process", wholeNumber)
    .option("--profile", "also time each of heddle's kernels", false)
    .option("--json", "print the report as JSON", false)
    .option("--out <file>", "write the report to a file as JSON")
    .action(async (what: string[], options: Options) => {
      status = await bench(chosen(what), options);
    });
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    note(`${error.name}: ${error.message}`);
  }
  return status;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError("a whole number from 1 on is needed");
}

function chosen(what: readonly string[]): Case[] {
  const unknown = what.find((word) => !groups.includes(word));
  if (unknown !== undefined) throw new UsageError(`there is no bench "${unknown}": choose from ${groups.join(", ")}`);
  return cases.filter((c) => (what.length === 0 ? !c.onRequest : what.includes(c.group)));
}

async function bench(wanted: readonly Case[], options: Options): Promise<number> {
  const missing = wanted.some((c) => c.contenders["jax-js"]) ? await installPeers(note) : undefined;
  const absent = new Map<ContenderName, string>(missing === undefined ? [] : [["jax-js", missing]]);
  const environment = await readEnvironment();
  const run: RunOptions = { rounds: options.rounds, absent, note, ...(options.timed && { timed: options.timed }) };
  const reports: CaseReport[] = [];
  let device: Report["device"];
  for (const c of wanted) {
    const results = await runCase(c, run);
    device ??= deviceOf(results);
    const kernels = options.profile && deviceOf(results) ? await profile(c) : undefined;
    reports.push(reportCase(c, results, kernels));
  }
  const report: Report = { environment, ...(device && { device }), rounds: options.rounds, cases: reports };
  const json = `${JSON.stringify(report, null, 2)}\n`;
  process.stdout.write(options.json ? json : printReport(report));
  if (options.out !== undefined) await writeFileAtomically(options.out, json);
  return reports.every((r) => r.contenders.some((c) => c.contender === "heddle" && !("failure" in c))) ? 0 : 1;
}

function deviceOf(results: readonly ContenderResult[]): Report["device"] {
  const [measurement] = results.find((r) => r.contender === "heddle")?.measurements ?? [];
  return measurement?.device && { ...measurement.device, drivers: measurement.drivers };
}

/** Profiles heddle's kernels in a case, in another process; undefined when that fails. */
async function profile(c: Case): Promise<readonly KernelFigures[] | undefined> {
  note(`${c.name}: heddle's kernels`);
  const outcome = await measureAlone({
    name: c.name,
    contender: "heddle",
    timed: 1,
    profile: true,
    patience: c.patience,
  });
  if ("measurement" in outcome) return outcome.measurement.kernels;
  note(`${c.name}: no profile, ${outcome.failure}`);
  return undefined;
}

/** Progress goes to stderr, so that stdout contains only the report. */
function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
