/**
 * Compares the predicted step time of several ranks with the measured one: `npm run bench -- ranks job.ts --ranks 4`.
 * Runs `mpirun` with 1, 2 and that many ranks on this machine, in turn.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { availableParallelism, tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { UsageError } from "../compiler/index.ts";
import type { Shard } from "../runtime/index.ts";
import { forecast } from "./ranks-forecast.ts";
import type { Found, Order } from "./ranks-process.ts";

interface Options {
  readonly set: readonly string[];
  readonly steps: number;
  readonly ranks: number;
  readonly device: string;
  readonly shard?: Shard;
}

export async function ranksBench(argv: readonly string[]): Promise<number> {
  const program = new Command("bench ranks")
    .description("A step of several ranks as forecast from one and from two, beside what it takes on this machine.")
    .argument("[job.ts]", "the job", "examples/emoji.ts")
    .option("--set <key=value>", "a setting of the job", (v: string, all: string[]) => [...all, v], [] as string[])
    .option("--steps <n>", "steps that are timed", Number, 8)
    .option("--ranks <n>", "ranks that are forecast, and run", Number, 4)
    .option("--device <device>", "webgpu or cpu", "cpu")
    .option("--shard <what>", "optimizer, gradients or weights: what ranks keep parts of");
  program.parse([...argv], { from: "user" });
  const options = program.opts<Options>();
  const folder = await mkdtemp(join(tmpdir(), "heddle-bench-"));
  try {
    const threads = Math.max(1, Math.floor(availableParallelism() / options.ranks));
    const order = { ...options, threads, job: resolve(program.args[0] ?? "examples/emoji.ts") };
    const [one, two, many] = [
      await measured(1, order, folder),
      await measured(2, order, folder),
      await measured(options.ranks, order, folder),
    ];
    print(one, two, many, options);
  } finally {
    await rm(folder, { recursive: true });
  }
  return 0;
}

const script = fileURLToPath(new URL("ranks-process.ts", import.meta.url));

async function measured(ranks: number, order: Omit<Order, "out">, folder: string): Promise<Found> {
  const out = join(folder, `${ranks}.json`);
  const asked: Order = { ...order, out };
  const root = userInfo().uid === 0 ? ["--allow-run-as-root"] : [];
  // MPICH's mpirun does not know these options of Open MPI's, and does not need them.
  const launcher =
    ranks === 1 ? [] : ["mpirun", ...((await isOpenMpi()) ? ["--oversubscribe", ...root] : []), "-n", `${ranks}`];
  const [command, ...args] = [...launcher, process.execPath, script, JSON.stringify(asked)];
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  spawn(command!, args, { stdio: ["ignore", "ignore", "inherit"] })
    .on("error", reject)
    .on("close", resolve);
  if ((await promise) !== 0) throw new UsageError(`${ranks} ranks of ${order.job} did not come to an end`);
  return JSON.parse(await readFile(out, "utf8")) as Found;
}

async function isOpenMpi(): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const child = spawn("mpirun", ["--version"], { stdio: ["ignore", "pipe", "ignore"] });
  let text = "";
  child.stdout.on("data", (piece) => (text += piece));
  child.on("error", () => resolve("")).on("close", () => resolve(text));
  return /Open MPI|OpenRTE/.test(await promise);
}

function print(one: Found, two: Found, many: Found, { ranks, device }: Options): void {
  const ms = (seconds: number) => `${(1000 * seconds).toPrecision(4)} ms`;
  const costs = two.costs!;
  const lines = [
    `${two.carrier}: ${ms(costs.latency)} to exchange next to nothing, ${(costs.bytesPerSecond / 1e9).toPrecision(3)} GB/s sent by each of 2`,
    ...[one, two].map(
      ({ step }, i) =>
        `${i + 1} rank${i ? "s" : ""}: a step takes ${ms(step.seconds)}, ${ms(step.exchange)} of it exchange`,
    ),
  ];
  const cores = availableParallelism();
  const told = forecast(one.step, two.step, costs, ranks, device === "cpu" ? Math.max(1, ranks / cores) : 1);
  const { step } = many;
  lines.push(
    `${ranks} ranks: forecast ${ms(told.seconds)} (${ms(told.exchange)} exchange), measured ${ms(step.seconds)} (${ms(step.exchange)} exchange): ${(told.seconds / step.seconds).toFixed(3)}`,
  );
  if (ranks > cores)
    lines.push(
      `this machine has ${cores} cores, which ${ranks} ranks share: ${device === "cpu" ? `the forecast counts ${ranks / cores} ranks per core` : "the forecast does not count that"}`,
    );
  process.stdout.write(`${lines.join("\n")}\n`);
}
