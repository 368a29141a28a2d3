/** What a launcher starts: a rank that checks collectives and trains cases, of which rank 0 writes what it found. */
import { writeFileSync } from "node:fs";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { requestDevice } from "../../backends/webgpu/node-index.ts";
import { rangesOf } from "../../runtime/collectives/index.ts";
import type { Ranks } from "../../runtime/index.ts";
import { joinRanks } from "../../runtime/node-index.ts";
import { type Told, tell } from "./shared-cases.ts";

/** What is asked of the ranks. */
export interface Asked {
  readonly device: "cpu" | "webgpu";
  readonly folder: string;
  readonly steps: number;
  readonly cases: readonly string[];
  /** Those that are trained a second time, with sums that are exchanged when all are there. */
  readonly late?: readonly string[];
}

/** What rank 0 found. */
export interface Found {
  readonly carrier: string;
  readonly node: { readonly size: number };
  /** Of each rank: what operations gave it. */
  readonly collectives: readonly Awaited<ReturnType<typeof collect>>[];
  readonly cases: Readonly<Record<string, Told>>;
  readonly late: Readonly<Record<string, Told>>;
}

/** More than one piece, in ranges that no alignment divides. */
const many = 1_300_003;

async function collect({ collectives: c }: Ranks) {
  const { rank, size } = c;
  const floats = Float32Array.from({ length: many }, (_, i) => (i % 1000) * (rank + 1));
  const before = c.traffic().sentBytes;
  await c.allReduce(floats);
  const sentBytes = c.traffic().sentBytes - before;
  const factor = (size * (size + 1)) / 2;
  const wrong = floats.findIndex((x, i) => x !== (i % 1000) * factor);
  // 2049 and its sums are no halves; one rounding of their exact sum is.
  const halves = new Float16Array(3).fill(rank === 0 ? 2048 : 0.5);
  const whole = Int32Array.of(2 ** 31 - 1, rank);
  const ranges = rangesOf(300, size);
  const gathered = new Float32Array(300).fill(rank + 1);
  const scattered = Float32Array.from({ length: 300 }, (_, i) => i);
  const sent = new Uint8Array(5).fill(rank + 1);
  // All under way at once: they take place in the order of their calls.
  await Promise.all([
    c.allReduce(halves),
    c.allReduce(whole),
    c.allGather(gathered, ranges),
    c.reduceScatter(scattered, ranges),
    c.broadcast(sent, size - 1),
    c.barrier(),
  ]);
  const own = ranges[rank]!;
  const beforeBroadcast = c.traffic().sentBytes;
  await c.broadcast(new Uint8Array(1000), size - 1);
  return {
    sentBytes,
    broadcastBytes: c.traffic().sentBytes - beforeBroadcast,
    wrong,
    halves: [...halves],
    whole: [...whole],
    gathered: ranges.map(({ from, to }) => [gathered[from], gathered[to - 1]]),
    scattered: [own.from, scattered[own.from], scattered[own.to - 1]],
    sent: [...sent],
  };
}

const { device, folder, steps, cases, late: again = [] } = JSON.parse(process.argv[2]!) as Asked;
const ranks = await joinRanks(process.env, (message) => {
  if (message !== undefined) process.stderr.write(`${message}\n`);
  process.exit(1);
});
const backend = device === "cpu" ? await cpuBackend() : webgpuBackend(await requestDevice({ prefer: "software" }));
const collectives = await ranks.tell(await collect(ranks));
const told: Record<string, Told> = {};
for (const name of cases) told[name] = await tell(name, steps, folder, backend, ranks);
const late: Record<string, Told> = {};
for (const name of again) late[name] = await tell(name, steps, folder, backend, ranks, false);
const { carrier, node } = ranks.collectives;
const found: Found = { carrier, node, collectives, cases: told, late };
if (ranks.isFirst) writeFileSync(`${folder}/found.json`, JSON.stringify(found));
backend.dispose();
await ranks.dispose();
