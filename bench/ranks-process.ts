/** One rank of `bench ranks`: measures exchanges and trains a few steps; rank 0 writes the results. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadJob, openDevice, openRankDevice, parseDevice } from "../cli/index.ts";
import { type ExchangeCosts, measureExchange, type Shard, train } from "../runtime/index.ts";
import { joinRanks } from "../runtime/node-index.ts";
import type { MeasuredStep } from "./ranks-forecast.ts";

export interface Order {
  readonly job: string;
  readonly set: readonly string[];
  readonly steps: number;
  readonly device: string;
  readonly shard?: Shard;
  /** Threads of a rank on the CPU: as many with one rank as with all, so that their times can be compared. */
  readonly threads: number;
  readonly out: string;
}

export interface Found {
  readonly carrier: string;
  /** Absent with a single rank. */
  readonly costs?: ExchangeCosts;
  readonly step: MeasuredStep;
}

const { job: source, set, steps, device, shard, threads, out } = JSON.parse(process.argv[2]!) as Order;
const ranks = await joinRanks(process.env, (message) => {
  if (message !== undefined) process.stderr.write(`${message}\n`);
  process.exit(1);
});
const { collectives } = ranks;
const costs = collectives.size > 1 ? await measureExchange(collectives) : undefined;
const { job, config } = await loadJob(source, set);
const { finish: _, validate: __, ...built } = await job.build(config);
const choice = parseDevice(device);
const { backend } =
  choice === "cpu" ? await openDevice("cpu", { threads }) : await openRankDevice(choice, ranks, { share: true });
const root = await ranks.decide(() => mkdtemp(join(tmpdir(), "heddle-ranks-")));
const options = { backend, note: () => {}, ranks, ...(shard && { shard }) };
// The first step of a run includes compilation, so the step time is the difference of two runs.
const timed = async (count: number) => {
  const folder = join(root, `${count}`);
  if (ranks.isFirst) await mkdir(folder);
  const made = await train({ ...built, steps: count, checkpointEvery: count }, { ...options, folder });
  return {
    seconds: made.seconds,
    exchange: made.ranks?.communicationSeconds ?? 0,
    sentBytes: made.ranks?.sentBytes ?? 0,
  };
};
const [few, many] = [await timed(2), await timed(2 + steps)];
const each = (of: keyof MeasuredStep) => Math.max(0, many[of] - few[of]) / steps;
const own: MeasuredStep = { seconds: each("seconds"), exchange: each("exchange"), sentBytes: each("sentBytes") };
const all = await ranks.tell(own);
const slowest = all.reduce((a, b) => (b.seconds > a.seconds ? b : a));
const found: Found = { carrier: collectives.carrier, ...(costs && { costs }), step: slowest };
if (ranks.isFirst) await writeFile(out, JSON.stringify(found));
backend.dispose();
if (ranks.isFirst) await rm(root, { recursive: true });
await ranks.dispose();
