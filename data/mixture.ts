/** Rows drawn of several sources by weight: read, drawn and rendered ahead of when they are wanted, in an order that is fixed. */
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

/** A sample with what was made of its picture, which a sample without picture lacks. */
export interface Row {
  readonly raw: RawSample;
  readonly ref: SampleRef;
  readonly rendered?: Rendered;
  /** How many tiles its picture has, where another process renders them. */
  readonly tiles?: number;
}

export interface MixtureOptions {
  readonly seed: number;
  readonly onSkip: OnSkip;
  /** Says why a sample is left out, or gives what is left of it. */
  readonly judge: (raw: RawSample) => Promise<Judgement>;
  /** Undefined where pictures are rendered later. */
  readonly render?: (job: RenderJob) => Promise<Rendered>;
  /** Rows kept ready, all sources together. */
  readonly ahead: number;
  /**
   * The processes that share the reading, how many draws of all sources, at most `ahead`, they tell each other of at once, and whose
   * the n-th row is, where none is passed over.
   */
  readonly sharing?: { readonly among: Among; readonly window: number; readonly ownerOf: (row: number) => number };
}

/** How many rows were drawn in all, and where each source goes on. */
export interface MixturePlace {
  readonly drawn: number;
  readonly places: readonly StreamPlace[];
}

/** The job of a row's picture: its view depends on where the sample lies, never on which batch it comes in. */
export const renderJob = (raw: RawSample, ref: SampleRef, seed: number): RenderJob | undefined =>
  raw.image === undefined
    ? undefined
    : { image: raw.image, seed, keys: [streams.view, ...ref], ...(raw.mask === undefined ? {} : { mask: raw.mask }) };

/** A row, or why there is none: the sample is broken or filtered. */
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

/** So many samples one after the other that cannot be used are no accident of the data: the folder or disk is at fault. */
const mostBrokenInARow = 100_000;

/**
 * Endless rows. Which source the n-th row is of depends on seed and n alone; a sample that cannot be used is passed over,
 * and the next of its source stands in. FileError when a source has no sample that can be used.
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
    // The same on all processes, and no more than are read ahead: else the last of them would be waited for in vain.
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

/** Whose each draw of one source is, where it becomes the next row that is of the source. */
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

/** Begins to read each sample when it is asked for, without waiting. */
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
    row.catch(() => {}); // told when its turn comes
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
    onSkip(found); // in the order of the data, whichever was read first
    epochs.add(upcoming.ref[1]);
    if (epochs.size > 2) break; // a whole epoch lies between the first and the last
  }
  throw new FileError(`${source.spec} holds no sample that can be used: what is wrong with them was told before`);
}

const weightOf = (sources: readonly SampleStream[]): number =>
  sources.reduce((sum, { source }) => sum + source.weight, 0);

/** Which source a row is of. */
function sourceAt(sources: readonly SampleStream[], row: number, seed: number): number {
  let left = seededRandom(seed, streams.mixture, row)() * weightOf(sources);
  const found = sources.findIndex(({ source }) => {
    left -= source.weight;
    return left < 0;
  });
  return found < 0 ? sources.length - 1 : found;
}
