/** Runs a job as one of several ranks, and what the ranks exchange at every step. */
import type { Store } from "../../backends/backend.ts";
import {
  elementCount,
  type HostData,
  hostTensor,
  printGraph,
  type SizedAxis,
  UsageError,
} from "../../compiler/index.ts";
import { type Channel, differences, type Facts, type Ranks, RanksDifferError, telling } from "../collectives/index.ts";
import { sha256 } from "../sha256.ts";
import { GradientParts } from "../sharding/gradient-parts.ts";
import type { DividedState } from "../sharding/part-runs.ts";
import { type Shard, usualPartBytes } from "../sharding/shard.ts";
import { weightParts } from "../sharding/weight-parts.ts";
import { betweenRanks } from "./between.ts";
import type { CompiledStep, TrainingBatch, TrainingJob } from "./job.ts";
import type { AfterStep, Between } from "./runs.ts";
import { rankOfRow, type Share, sharedJob } from "./share.ts";
import { sharedBatches } from "./shared-batches.ts";

/** Statistics of the communication. */
export interface RankFigures {
  readonly count: number;
  /** The rank that computed longest, and its excess over the mean of all ranks, as a fraction. */
  readonly slowest: number;
  readonly slower: number;
  /** Seconds that this rank spent exchanging tensors or waiting for other ranks. */
  readonly communicationSeconds: number;
  /** The fraction of that time in which its device computed, from 0 to 1. */
  readonly overlap: number;
  /** Bytes sent by this rank. */
  readonly sentBytes: number;
}

/** A one-line summary. */
export function rankText({ count, slowest, slower, communicationSeconds, overlap }: RankFigures): string {
  const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
  return `${count} ranks: ${communicationSeconds.toFixed(1)} s in communication, ${percent(overlap)} of it while the device computed; slowest is rank ${slowest}, by ${percent(slower)}`;
}

export interface InRanks {
  readonly job: TrainingJob;
  readonly share: Share | undefined;
  readonly batches: TrainingJob["batches"];
  readonly between: Between | undefined;
  readonly agree: (asked: AfterStep) => Promise<AfterStep>;
  readonly together?: () => { readonly text: string; readonly figures: RankFigures };
}

/** For two or more ranks. Throws UsageError for a step that cannot be shared. */
export function inRanks(given: TrainingJob, ranks: Ranks, shard?: Shard, partBytes?: number): InRanks {
  const { collectives } = ranks;
  const { rank, size } = collectives;
  const { job, share } = sharedJob(given, rank, size, shard, partBytes);
  const times = timesOf(size);
  const sentBefore = collectives.traffic().sentBytes;
  const divided = dividedState(job.step, collectives, partBytes);
  const shared = betweenRanks(job.step, share, collectives, divided);
  const between: Between = {
    share,
    ...(divided && { divided }),
    early: shared.early,
    addEarly: shared.addEarly,
    besideSeconds: shared.besideSeconds,
    addUp: (store) => times.alone(() => shared.addUp(store), true),
    gather: (store) => times.alone(() => shared.gather(store)),
    ...(shared.addTerms && { addTerms: (store: Store) => times.alone(() => shared.addTerms!(store)) }),
    ...(shared.averages && { averages: shared.averages }),
    ...(shared.addRows && { addRows: (store: Store) => times.alone(() => shared.addRows!(store)) }),
    ...(shared.spread && { spread: (store: Store) => times.alone(() => shared.spread!(store)) }),
  };
  const agree = async ({ stop, save }: AfterStep): Promise<AfterStep> => {
    const all = new Float32Array(3 * size);
    all.set([Number(stop), Number(save), times.last()], 3 * rank);
    const ranges = Array.from({ length: size }, (_, r) => ({ from: 3 * r, to: 3 * (r + 1) }));
    await times.beside(() => collectives.allGather(all, ranges));
    times.add(Array.from(ranges, ({ from }) => all[from + 2]!));
    const any = (i: number) => ranges.some(({ from }) => all[from + i] === 1);
    return { stop: any(0), save: any(1) };
  };
  const batches: TrainingJob["batches"] = (cursor, note) => {
    const reading = sharedRows(share, collectives);
    const read = given.batches(cursor, note, reading.rows);
    const same = sameBatches(read, share.batches, ranks, new Set(given.ownRows));
    return closing(sharedBatches(same, job, share), reading.close);
  };
  const together: InRanks["together"] = () => {
    times.wasBeside(shared.besideSeconds());
    const figures = times.figures(collectives.traffic().sentBytes - sentBefore);
    return { text: rankText(figures), figures };
  };
  return { job, share, batches, between, agree, together };
}

function dividedState(
  step: CompiledStep,
  collectives: Ranks["collectives"],
  partBytes = usualPartBytes,
): DividedState | undefined {
  const what = step.accumulation?.shared?.shard?.divided?.what;
  if (!what) return undefined;
  const gradients = new GradientParts(step, collectives);
  return { gradients, partBytes, ...(what === "weights" && { weights: weightParts(step, collectives) }) };
}

/** Initializes the store's state that depends on the rank: its first micro-batch, and its shards of the gradients. */
export async function placeRank({ accumulation }: CompiledStep, share: Share, store: Store): Promise<void> {
  const name = accumulation?.shared?.first;
  if (name) await store.write(name, hostTensor("i32", [], [share.first]));
  const shard = accumulation?.shared?.shard;
  if (!shard) return;
  await store.write(shard.norm, hostTensor("f32", [], [0]));
  if (shard.sums) {
    const axes = shard.sums.type.axes as readonly SizedAxis[];
    await store.write(shard.sums.name, hostTensor("f32", axes, new Float32Array(elementCount(axes))));
  }
  for (const [i, { from, to }] of shard.ranges.entries())
    if (to > from)
      await store.write(
        shard.gradients[i]!.part,
        hostTensor("f32", [{ name: "arena", size: to - from }], new Float32Array(to - from)),
      );
}

/** Measures how long each rank computed, and how long this one did nothing but exchange tensors. */
function timesOf(size: number) {
  const totals = new Array<number>(size).fill(0);
  let left = performance.now();
  let [computing, own, idle, beside] = [0, 0, 0, 0];
  return {
    /** Runs an exchange while no device computes; `ends` marks the one that completes a step's computation. */
    alone: async (work: () => Promise<void>, ends = false): Promise<void> => {
      const begun = performance.now();
      computing += (begun - left) / 1000;
      if (ends) [own, computing] = [computing, 0];
      await work();
      left = performance.now();
      idle += (left - begun) / 1000;
    },
    /** Runs an exchange that overlaps with computation. */
    beside: async (work: () => Promise<void>): Promise<void> => {
      const begun = performance.now();
      await work();
      beside += (performance.now() - begun) / 1000;
    },
    wasBeside: (seconds: number) => void (beside += seconds),
    last: () => own,
    add: (all: readonly number[]) => {
      for (const [r, seconds] of all.entries()) totals[r]! += seconds;
    },
    figures: (sentBytes: number): RankFigures => {
      const slowest = totals.indexOf(Math.max(...totals));
      const mean = totals.reduce((a, b) => a + b, 0) / size;
      return {
        count: size,
        slowest,
        slower: mean > 0 ? totals[slowest]! / mean - 1 : 0,
        communicationSeconds: idle + beside,
        overlap: beside / Math.max(idle + beside, Number.MIN_VALUE),
        sentBytes,
      };
    },
  };
}

/** Maximum channels per iteration over a job's batches; each iteration uses new ones. */
const mostChannels = 64;
let readings = 0;

function sharedRows({ batches, rows }: Share, { rank, size, channel }: Ranks["collectives"]) {
  const first = mostChannels * (readings++ % (mostChannels / 2)); // MPI tags end at 2^15 - 1
  const channels = new Map<number, { readonly channel: Channel; last: Promise<unknown> }>();
  const channelOf = (number: number) => {
    if (number >= mostChannels) throw new UsageError(`ranks can read at most ${mostChannels} data sources at once`);
    const known = channels.get(number) ?? { channel: channel(first + number), last: Promise.resolve() };
    channels.set(number, known);
    return known;
  };
  /** Serialized, since `telling` takes two gathers. */
  const exchange = <T>(number: number, said: T): Promise<readonly T[]> => {
    const open = channelOf(number);
    const told = open.last.then(() => telling(open.channel)(said));
    open.last = told;
    told.catch(() => {}); // reported to the caller
    return told;
  };
  const rankOf = (row: number) => rankOfRow(batches * rows, row, size);
  return {
    rows: {
      rank,
      size,
      owns: (row: number) => rankOf(row) === rank,
      rankOf,
      exchange,
    },
    close: () => {
      for (const open of channels.values()) open.channel.close();
    },
  };
}

/** The same values; `close` is called when the iteration ends. */
async function* closing<T>(values: AsyncIterable<T>, close: () => void): AsyncGenerator<T> {
  try {
    yield* values;
  } finally {
    close();
  }
}

/** The same batches, after checking that those of the first step equal rank 0's. */
async function* sameBatches(
  batches: AsyncIterable<TrainingBatch>,
  ofStep: number,
  ranks: Ranks,
  ofRows: ReadonlySet<string>,
): AsyncGenerator<TrainingBatch> {
  let digest = "";
  let read = 0;
  for await (const batch of batches) {
    if (read < ofStep) {
      for (const [name, { data }] of Object.entries(batch.feeds).filter(([name]) => !ofRows.has(name)))
        digest = await sha256(`${digest} ${name} ${await sha256(bytesOf(data))}`);
      read += 1;
      if (read === ofStep) await requireSame(ranks, { "first batch": digest });
    }
    yield batch;
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: HostData): Uint8Array<ArrayBuffer> =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);

/** What must be the same on all ranks before anything is computed: facts of the job, its step and its data. */
export const factsOf = async ({ step, steps, sizes, seed, checkpointEvery, listing = "" }: TrainingJob) => ({
  step: await sha256(printGraph(step.graph)),
  settings: JSON.stringify({ steps, sizes, seed, checkpointEvery, rule: step.rule, precision: step.precision }),
  "data listing": listing,
});

/** Throws RanksDifferError on every rank if any rank's facts differ; it names the ranks and the facts. */
export async function requireSame(ranks: Ranks, facts: Facts): Promise<void> {
  const found = differences(await ranks.tell(facts));
  if (found.length > 0) throw new RanksDifferError(found, ranks.isFirst);
}
