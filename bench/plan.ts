/**
 * Compares `heddle plan` with reality: `npm run bench -- plan job.ts --set batch=16`. Trains a few steps on this
 * machine's WebGPU device; memory is the size of its buffers, time is taken from the run's step times.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { type WebgpuBackend, webgpuBackend } from "../backends/webgpu/index.ts";
import { requestDevice } from "../backends/webgpu/node-index.ts";
import { type PlannedJob, planHere } from "../cli/index.ts";
import { type TrainingJob, train } from "../runtime/index.ts";
import { median } from "./statistics.ts";

export async function planBench(argv: readonly string[]): Promise<number> {
  const program = new Command("bench plan")
    .description("A job's plan beside its memory and the time of its steps on the WebGPU device that is here.")
    .argument("[job.ts]", "the job", "examples/emoji.ts")
    .option("--set <key=value>", "a setting of the job", (v: string, all: string[]) => [...all, v], [] as string[])
    .option("--steps <n>", "steps that are trained", Number, 6);
  program.parse([...argv], { from: "user" });
  const { set, steps } = program.opts<{ readonly set: readonly string[]; readonly steps: number }>();
  const planned = await planHere(program.args[0] ?? "examples/emoji.ts", set);
  const { bytes, seconds } = await measured(planned.job, steps);
  print(planned, bytes, seconds);
  return 0;
}

interface Measured {
  readonly bytes: number;
  readonly seconds: number;
}

async function measured(job: TrainingJob, steps: number): Promise<Measured> {
  const gpu = await requestDevice({ prefer: "hardware" });
  const backend = webgpuBackend(gpu);
  const folder = await mkdtemp(join(tmpdir(), "heddle-plan-"));
  const seen: number[] = [];
  try {
    const { finish: _, ...rest } = job;
    const watched: TrainingJob = {
      ...rest,
      steps,
      checkpointEvery: steps,
      batches: (...from) => watch(job.batches(...from)),
    };
    await train(watched, { folder, backend, note: () => {} });
    const lines = (await readFile(join(folder, "metrics.jsonl"), "utf8")).trim().split("\n");
    const times = lines.map((line) => (JSON.parse(line) as { readonly seconds: number }).seconds);
    return { bytes: Math.max(...seen), seconds: median(times.slice(1)) }; // the first step also creates pipelines
  } finally {
    backend.dispose();
    await rm(folder, { recursive: true });
  }

  /** The same batches; memory is sampled when the next one is requested, while earlier steps are in flight. */
  async function* watch<T>(batches: AsyncIterable<T>): AsyncGenerator<T> {
    for await (const batch of batches) {
      yield batch;
      seen.push(heldBytes(gpu));
    }
  }
}

/** Read-back buffers are temporary; a plan counts only persistent ones. */
const heldBytes = ({ memory }: WebgpuBackend["gpu"]): number =>
  [...memory.heldBytes()].reduce((n, [kind, bytes]) => (kind === "read-backs" ? n : n + bytes), 0);

function print({ device, plan, timed }: PlannedJob, bytes: number, seconds: number): void {
  const row = (what: string, said: number, got: number, unit: string) =>
    process.stdout.write(
      `${what.padEnd(10)} planned ${said.toPrecision(4)} ${unit}, measured ${got.toPrecision(4)} ${unit}: ${(said / got).toFixed(3)}\n`,
    );
  process.stdout.write(`${device}, batch ${plan.batch.micro}\n`);
  row("memory", plan.bytes / 1e6, bytes / 1e6, "MB");
  row("roofline", plan.time.update * 1e3, seconds * 1e3, "ms");
  row("timed", timed * 1e3, seconds * 1e3, "ms");
}
