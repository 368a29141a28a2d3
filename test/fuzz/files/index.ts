/**
 * The fuzzer of files: `npm run fuzz:files -- --seeds 0..10000 --only graph,png --resume files.json`. Each format runs
 * in its own thread, which is terminated where a file hangs it or exhausts memory; both are findings, and the run
 * continues with the next seed. With several threads (`--jobs`), all running ones are terminated and reported where the
 * process uses too much memory.
 */
import { Worker } from "node:worker_threads";
import { Command, InvalidArgumentError } from "commander";
import { type SeedRange, withSeeds } from "../session.ts";
import { formats } from "./formats.ts";
import { countDone, firstMissing, openFileSession, saveFileSession, sessionOf } from "./session.ts";

/** Milliseconds after which a file counts as hanging, and the most bytes that the process may hold. */
const patience = 30_000;
const mostBytes = 3 * 2 ** 30;
const saveEvery = 5_000;

const names = formats.map((format) => format.name);
const namesOf = (text: string): string[] => {
  const asked = text.split(",");
  const unknown = asked.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new InvalidArgumentError(`there is no format "${unknown}".`);
  return asked;
};
const program = new Command("fuzz:files")
  .option("--seeds <from..to>", "the seeds to run, the last left out", "0..1000")
  .option("--only <list>", `any of ${names.join(",")}`, namesOf, names)
  .option("--resume <file>", "goes on where the file says, and keeps there what was done")
  .option("--jobs <n>", "formats at once", Number, 1)
  .parse();
const { seeds, only, resume, jobs } = program.opts<{ seeds: string; only: string[]; resume?: string; jobs: number }>();
const [from = 0, to = from + 1] = seeds.split("..").map(Number);
const range: SeedRange = [from, to];
const session = openFileSession(resume);

const left = [...only];
let saving: Promise<void> = Promise.resolve();
await Promise.all(Array.from({ length: jobs }, runFormats));
const found = only.reduce((n, name) => n + sessionOf(session, name).findings.length, 0);
process.stderr.write(`${found} findings\n`);
process.exitCode = found === 0 ? 0 : 1;

async function runFormats(): Promise<void> {
  for (let name = left.shift(); name !== undefined; name = left.shift()) await runFormat(name);
}

async function runFormat(name: string): Promise<void> {
  for (let next = missingOf(name); next !== undefined; next = missingOf(name)) await runSeeds(name, next);
  const { done, findings } = sessionOf(session, name);
  process.stderr.write(`${name}: ${countDone(range, done)} of ${to - from} seeds, ${findings.length} findings\n`);
}

function missingOf(name: string): SeedRange | undefined {
  return firstMissing(range, sessionOf(session, name).done);
}

function tell(name: string, finding: string): void {
  const { done, findings } = sessionOf(session, name);
  session[name] = { done, findings: [...findings, finding] };
  process.stdout.write(`${finding}\n`);
}

async function keep(name: string, seeds: SeedRange): Promise<void> {
  const { done, findings } = sessionOf(session, name);
  session[name] = { done: withSeeds(done, seeds), findings };
  if (resume !== undefined) saving = saving.then(() => saveFileSession(resume, session));
  await saving;
}

/** Runs seeds until the last, or until one kills the thread, which is then a finding and counts as done. */
async function runSeeds(name: string, [first, last]: SeedRange): Promise<void> {
  const at = new Int32Array(new SharedArrayBuffer(4));
  at[0] = first - 1; // until its modules are loaded
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    workerData: { name, from: first, to: last, at },
    resourceLimits: { maxOldGenerationSizeMb: 1024 },
  });
  worker.on("message", (finding: string) => tell(name, finding));
  let [seen, since, saved] = [-1, performance.now(), performance.now()];
  let why = "it never ended";
  const watch = setInterval(() => {
    const now = performance.now();
    if (at[0] !== seen) [seen, since] = [at[0]!, now];
    const isLarge = process.memoryUsage.rss() > mostBytes;
    if (isLarge) why = `the process holds more than ${mostBytes / 2 ** 30} GiB`;
    const isLoading = at[0]! < first && now - since < 10 * patience;
    if (isLarge || (now - since > patience && !isLoading)) void worker.terminate();
    else if (now - saved > saveEvery && at[0]! > first) [saved] = [now, void keep(name, [first, at[0]!])];
  }, 250);
  const ended = await new Promise<string | undefined>((resolve) => {
    worker.on("error", (error) => resolve(error.stack ?? error.message));
    worker.on("exit", (code) => resolve(code === 0 ? undefined : why));
  });
  clearInterval(watch);
  const seed = Math.max(first, at[0]!);
  if (ended !== undefined) tell(name, `${name} seed ${seed}: ${ended}`);
  await keep(name, [first, ended === undefined ? last : seed + 1]);
}
