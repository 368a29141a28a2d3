/**
 * The fuzzer of files: `npm run fuzz:files -- --seeds 0..10000 --only tar,graph`. Each format runs in a thread of its own,
 * which is ended where a file takes for ever or runs out of memory; both are findings, and the next seed goes on.
 */
import { Worker } from "node:worker_threads";
import { Command } from "commander";
import { formats } from "./formats.ts";

/** Milliseconds after which a file is said to take for ever. */
const patience = 30_000;

const program = new Command("fuzz:files")
  .option("--seeds <from..to>", "the seeds to run, the last left out", "0..1000")
  .option("--only <list>", `any of ${formats.map((f) => f.name).join(", ")}`, formats.map((f) => f.name).join(","))
  .parse();
const { seeds, only } = program.opts<{ readonly seeds: string; readonly only: string }>();
const [from = 0, to = from + 1] = seeds.split("..").map(Number);

let found = 0;
for (const name of only.split(",")) {
  process.stderr.write(`${name}: seeds ${from} to ${to - 1}\n`);
  for (let next: number | undefined = from; next !== undefined; ) next = await runFrom(name, next);
}
process.stderr.write(`${found} findings\n`);
process.exitCode = found === 0 ? 0 : 1;

function tell(finding: string): void {
  found++;
  process.stdout.write(`${finding}\n`);
}

/** Runs seeds until the last or until one ends the thread; gives the one to go on with. */
async function runFrom(name: string, first: number): Promise<number | undefined> {
  const at = new Int32Array(new SharedArrayBuffer(4));
  at[0] = first;
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    workerData: { name, from: first, to, at },
    resourceLimits: { maxOldGenerationSizeMb: 1024 },
  });
  worker.on("message", tell);
  let [seen, since] = [-1, performance.now()];
  const watch = setInterval(() => {
    if (at[0] !== seen) [seen, since] = [at[0]!, performance.now()];
    else if (performance.now() - since > patience) void worker.terminate();
  }, 500);
  const ended = await new Promise<string | undefined>((resolve) => {
    worker.on("error", (error) => resolve(error.stack ?? error.message));
    worker.on("exit", (code) => resolve(code === 0 ? undefined : "it never ended"));
  });
  clearInterval(watch);
  if (ended === undefined) return undefined;
  tell(`${name} seed ${at[0]}: ${ended}`);
  return at[0]! + 1 < to ? at[0]! + 1 : undefined;
}
