/** The command line of the fuzzer: which seeds, on which executors, and where to resume. */
import { Command, InvalidArgumentError, Option } from "commander";
import { requestDevice } from "../../backends/webgpu/runtime/adapter.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import { HeddleError } from "../../compiler/index.ts";
import { devices, type Executor, interpreters } from "./executors.ts";
import { crash, type Finding, printFinding } from "./finding.ts";
import { normCase } from "./norm-case.ts";
import { fuzzCase } from "./random-case.ts";
import { recordedFor } from "./recorded.ts";
import { runSeed } from "./seeds.ts";
import { missing, openSession, type SeedRange, type Session, saveSession, withSeed } from "./session.ts";
import { tileCase } from "./tile-case.ts";

interface Options {
  readonly seeds: SeedRange;
  readonly only: readonly string[];
  readonly graphs: Graphs;
  readonly resume?: string;
  readonly shrink: number;
}

/** Every comparison is with the reference; alone it tests that graphs can be built and evaluated. */
const executorNames = ["reference", "interpreter", "webgpu", "recorded"] as const;
const usual = executorNames.filter((n) => n !== "recorded");

/** Chains of any ops, graphs that exercise tiling and matrix units, or norms between products of many rows. */
const cases = { fused: fuzzCase, tiles: tileCase, norms: normCase } as const;
type Graphs = keyof typeof cases;

/** Seeds between writes of the session file, for executors that are not expected to crash. */
const savedEvery = 25;

/** Runs the fuzzer and returns the exit status: 1 when anything disagrees. */
export async function main(argv: readonly string[]): Promise<number> {
  let status = 1;
  const program = new Command("fuzz")
    .description("Compare random graphs between WebGPU, the kernel interpreter and the float64 reference.")
    .option("--seeds <from..to>", "the seeds to run, the last left out", seedRange, [0, 1000] as SeedRange)
    .option("--only <list>", `any of ${executorNames.join(", ")}`, nameList, [...usual])
    .addOption(new Option("--graphs <kind>", "what is drawn").choices(Object.keys(cases)).default("fused"))
    .option("--resume <file>", "keep what is done in this file, and leave out what it says is done")
    .option("--shrink <n>", "graphs tried to make a failing one smaller", wholeNumber, 500)
    .action(async (options: Options) => {
      status = await fuzz(options);
    });
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    process.stderr.write(`${error.name}: ${error.message}\n`);
  }
  return status;
}

function seedRange(text: string): SeedRange {
  const found = /^(\d+)\.\.(\d+)$/.exec(text);
  if (found && Number(found[1]) < Number(found[2])) return [Number(found[1]), Number(found[2])];
  if (/^\d+$/.test(text)) return [Number(text), Number(text) + 1];
  throw new InvalidArgumentError("a range such as 0..1000, or one seed, is needed");
}

function nameList(text: string): string[] {
  const names = text.split(",");
  const unknown = names.find((n) => !(executorNames as readonly string[]).includes(n));
  if (unknown === undefined) return executorNames.filter((n) => names.includes(n));
  throw new InvalidArgumentError(`"${unknown}" is none of ${executorNames.join(", ")}`);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  throw new InvalidArgumentError("a whole number is needed");
}

async function fuzz(options: Options): Promise<number> {
  let session = afterCrash(openSession(options.resume, [options.graphs, ...options.only]), options.graphs);
  const open = () => requestDevice({ prefer: "software" });
  let gpu = options.only.includes("webgpu") ? await open() : undefined;
  const renew = async (broken: GpuDevice): Promise<GpuDevice> => {
    broken.dispose();
    return (gpu = await open());
  };
  const same = [...(options.only.includes("interpreter") ? interpreters : []), ...(gpu ? devices(gpu, renew) : [])];
  const executorsOf = (seed: number) => [...same, ...(options.only.includes("recorded") ? recordedFor(seed) : [])];
  const progress = new Progress(options.seeds[1] - options.seeds[0]);
  const save = async (next: Session) => {
    session = next;
    if (options.resume !== undefined) await saveSession(options.resume, session);
  };
  let unsaved = 0;
  let stopped = false;
  const stop = () => {
    stopped = true; // after the current seed, so that the file is consistent
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
  try {
    for (const seed of missing(options.seeds, session.done)) {
      if (stopped) break;
      if (gpu) await save({ ...session, running: seed });
      const findings = await run(seed, executorsOf(seed), options, progress);
      const { running: _, ...rest } = session;
      session = { ...rest, done: withSeed(session.done, seed), findings: [...session.findings, ...findings] };
      if (findings.length > 0 || ++unsaved % savedEvery === 0) await save(session);
    }
    await save(session);
  } finally {
    gpu?.dispose();
  }
  progress.end();
  return session.findings.length > 0 ? 1 : 0;
}

/** A seed that was running when the process died is a finding, and is skipped. */
function afterCrash(session: Session, graphs: Graphs): Session {
  const { running, ...rest } = session;
  if (running === undefined) return session;
  const found = crash(running, cases[graphs](running).graph);
  process.stdout.write(`${printFinding(found)}\n`);
  return { ...rest, done: withSeed(session.done, running), findings: [...session.findings, found] };
}

async function run(
  seed: number,
  executors: readonly Executor[],
  options: Options,
  progress: Progress,
): Promise<readonly Finding[]> {
  const result = await runSeed(seed, executors, options.shrink, cases[options.graphs]);
  progress.add(result.compared, result.skipped, result.findings.length);
  for (const f of result.findings) progress.print(printFinding(f));
  return result.findings;
}

/** A progress line on stderr, overwritten in place, or printed now and then where stderr is no terminal. */
class Progress {
  private readonly total: number;
  private readonly start = performance.now();
  private written = 0;
  private seeds = 0;
  private compared = 0;
  private skipped = 0;
  private findings = 0;

  constructor(total: number) {
    this.total = total;
  }

  add(compared: number, skipped: number, findings: number): void {
    this.seeds++;
    this.compared += compared;
    this.skipped += skipped;
    this.findings += findings;
    const pause = process.stderr.isTTY ? 200 : 30_000;
    if (performance.now() - this.written > pause) this.write();
  }

  private write(): void {
    this.written = performance.now();
    const seconds = (this.written - this.start) / 1000;
    const rate = (this.seeds / seconds).toFixed(1);
    const text = `${this.seeds} of ${this.total} seeds, ${this.compared} graphs compared, ${this.skipped} out of range, ${this.findings} findings, ${rate} seeds/s`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  }

  /** Prints a finding above the progress line. */
  print(text: string): void {
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
    process.stdout.write(`${text}\n`);
  }

  end(): void {
    this.write();
    if (process.stderr.isTTY) process.stderr.write("\n");
  }
}
