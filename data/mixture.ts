/** A weighted mixture of sources: rows are read, drawn and rendered ahead of use, in a deterministic order. */
import { FileError } from "../compiler/index.ts";
import { type Among, agreedDraws } from "./among.ts";
import { prefetch } from "./concurrency.ts";
import type { Rendered, RenderJob } from "./decoding/render.ts";
import type { OnSkip, Skipped } from "./files.ts";
import type { Judgement } from "./filters/judgement.ts";
import { streams } from "./order.ts";
import { seededRandom } from "./random.ts";
import type { SampleRef, SampleStream, StreamPlace, Upcoming } from "./sample-stream.ts";
import type { RawSample } from "./samples.ts";

/** A sample with its rendered image, if it has one. */
export interface Row {
  readonly raw: RawSample;
  readonly ref: SampleRef;
  readonly rendered?: Rendered;
  /** The number of tiles of its image, when another process renders them. */
  readonly tiles?: number;
}

export interface MixtureOptions {
  readonly seed: number;
  readonly onSkip: OnSkip;
  /** Returns the reason to drop a sample, or what remains of it. */
  readonly judge: (raw: RawSample) => Promise<Judgement>;
  /** Absent when images are rendered later. */
  readonly render?: (job: RenderJob) => Promise<Rendered>;
  /** Rows prefetched, over all sources. */
  readonly ahead: number;
  /**
   * For distributed reading: the processes, the number of draws (at most `ahead`, over all sources) whose verdicts are
   * exchanged at once, and the owner of the n-th row if none is skipped.
   */
  readonly sharing?: { readonly among: Among; readonly window: number; readonly ownerOf: (row: number) => number };
}

/** The number of rows drawn, and where each source continues. */
export interface MixturePlace {
  readonly drawn: number;
  readonly places: readonly StreamPlace[];
}

/** The render job of a row's image: its view depends on the sample's location, never on the batch it is in. */
export const renderJob = (raw: RawSample, ref: SampleRef, seed: number): RenderJob | undefined =>
  raw.image === undefined
    ? undefined
    : { image: raw.image, seed, keys: [streams.view, ...ref], ...(raw.mask === undefined ? {} : { mask: raw.mask }) };

/** Reads a row, or returns why it is skipped: the sample is broken or filtered out. */
export async function readRow(
  { ref, name, read }: Omit<Upcoming, "next">,
  { seed, judge, render }: Omit<MixtureOptions, "ahead">,
): Promise<Row | Skipped> {
  try {
    const judgement = await judge(await read());
    if ("dropped" in judgement) return { name, reason: `filtered: ${judgement.dropped}` };
    const raw = judgement.kept;
    const job = render && renderJob(raw, ref, seed);
    return { raw, ref, ...(job ? { rendered: await render!(job) } : {}) };
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return { name, reason: error.message };
  }
}

/** This many unusable samples in a row are not an accident of the data: the folder or disk is at fault. */
const mostBrokenInARow = 100_000;

/**
 * An endless stream of rows. The n-th row's source depends only on seed and n; an unusable sample is skipped, and the
 * next of its source replaces it. FileError when a source has no usable sample.
 */
export async function* mixture(
  sources: readonly SampleStream[],
  from: MixturePlace,
  options: MixtureOptions,
): AsyncGenerator<{ readonly row: Row; readonly next: MixturePlace }, void, undefined> {
  const total = weightOf(sources);
  const rows = sources.map((stream, i) => {
    const ahead = Math.max(2, Math.ceil((options.ahead * stream.source.weight) / total));
    const { among, window = 0 } = options.sharing ?? {};
    // The same on all processes, and at most the number prefetched: otherwise a window would never fill up.
    const told = Math.max(1, Math.floor((window * stream.source.weight) / total));
    const agree = among && agreedDraws<Row>(among, i, told);
    const owners = options.sharing && ownersOf(sources, i, from.drawn, options.seed, options.sharing.ownerOf);
    return prefetch(started(stream, from.places[i]!, options, agree, owners), ahead);
  });
  const places = [...from.places];
  try {
    for (let drawn = from.drawn; ; ) {
      const chosen = sourceAt(sources, drawn, options.seed);
      const { row, next } = await nextRow(rows[chosen]!, sources[chosen]!, options.onSkip);
      places[chosen] = next;
      drawn += 1;
      yield { row, next: { drawn, places: [...places] } };
    }
  } finally {
    await Promise.all(rows.map((one) => one.return()));
  }
}

/** The owner of each draw of a source, if no draw is skipped. */
function* ownersOf(
  sources: readonly SampleStream[],
  source: number,
  drawn: number,
  seed: number,
  ownerOf: (row: number) => number,
): Generator<number, void, undefined> {
  for (let row = 0; ; row++) if (sourceAt(sources, drawn + row, seed) === source) yield ownerOf(row);
}

interface Started {
  readonly upcoming: Upcoming;
  readonly row: Promise<Row | Skipped>;
}

/** Starts reading each sample when it is requested, without waiting. */
async function* started(
  stream: SampleStream,
  from: StreamPlace,
  options: MixtureOptions,
  agree: ReturnType<typeof agreedDraws<Row>> | undefined,
  owners: Iterator<number> | undefined,
): AsyncGenerator<Started> {
  const { render: _, ...unrendered } = options;
  for await (const upcoming of stream.from(from)) {
    const looker = owners?.next().value as number | undefined;
    const read = readRow(upcoming, looker === options.sharing?.among.rank ? options : unrendered);
    const row = agree ? agree(read, looker!) : read;
    row.catch(() => {}); // reported in its turn
    yield { upcoming, row };
  }
}

async function nextRow(
  rows: AsyncGenerator<Started>,
  { source }: SampleStream,
  onSkip: OnSkip,
): Promise<{ readonly row: Row; readonly next: StreamPlace }> {
  const epochs = new Set<number>();
  for (let broken = 0; broken < mostBrokenInARow; broken += 1) {
    const next = await rows.next();
    if (next.done) break;
    const { upcoming, row } = next.value;
    const found = await row;
    if ("raw" in found) return { row: found, next: upcoming.next };
    onSkip(found); // in data order, whichever was read first
    epochs.add(upcoming.ref[1]);
    if (epochs.size > 2) break; // a whole epoch has been skipped
  }
  throw new FileError(`${source.spec} has no usable samples: see the reasons reported above`);
}

const weightOf = (sources: readonly SampleStream[]): number =>
  sources.reduce((sum, { source }) => sum + source.weight, 0);

/** The source of a row. */
function sourceAt(sources: readonly SampleStream[], row: number, seed: number): number {
  let left = seededRandom(seed, streams.mixture, row)() * weightOf(sources);
  const found = sources.findIndex(({ source }) => {
    left -= source.weight;
    return left < 0;
  });
  return found < 0 ? sources.length - 1 : found;
}
