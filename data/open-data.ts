/** What a run trains on: samples of one kind out of many places, in batches, from any cursor on. */
import { createHash } from "node:crypto";
import { FileError, type HostTensor, hostTensor, UsageError } from "../compiler/index.ts";
import type { Among } from "./among.ts";
import { bucketedBatches } from "./bucketed-batches.ts";
import { prefetch } from "./concurrency.ts";
import type { ImageOptions } from "./decoding/render.ts";
import { renderer } from "./decoding/threads.ts";
import { judge, readFilters } from "./filters/filter.ts";
import { type BatchesOptions, type CursorState, groupedBatches, isCursorState, startOf } from "./grouped-batches.ts";
import { imageName } from "./images.ts";
import { type Row, renderJob } from "./mixture.ts";
import { streams } from "./order.ts";
import { orderedBatches } from "./ordered-batches.ts";
import { pick, seededRandom } from "./random.ts";
import { streamOf } from "./sample-stream.ts";
import type { RawSample, SampleKind, SampleOf } from "./samples.ts";
import { skipCounts } from "./skips.ts";
import { findSources } from "./sources/find.ts";
import type { Source } from "./sources/source.ts";

/** One step's samples. */
export interface SampleBatch<K extends SampleKind> {
  /** f32 [batch, channel, row, column], normalized; zeros where a sample has no picture. */
  readonly pixels: HostTensor;
  /** Row i belongs to row i of the pixels. */
  readonly samples: readonly SampleOf<K>[];
  /** Where the data goes on after this batch: plain JSON, to be saved with the checkpoint taken after the step. */
  readonly cursor: DataCursor;
}

/** What `batches` is given to go on. Its contents are this module's own business. */
export interface DataCursor extends CursorState {
  /** The specs that it belongs to. */
  readonly specs: readonly string[];
  readonly seed: number;
}

export interface OpenData<K extends SampleKind> {
  readonly kind: K;
  /** For people, a line for each spec: "shards/{000..099}.tar: 100 shards, weight 1". */
  readonly report: readonly string[];
  /** A digest of which parts there are, of which specs, with how many samples where that is known: another one is other data. */
  readonly listing: string;
  /** Samples of an epoch, broken ones included, where that is known without reading all. */
  readonly count?: number;
  /** Names of the classes, by label; of labels alone. */
  readonly classes?: readonly string[];
  /**
   * Endless batches from the cursor on, or from the beginning. `note` hears of the first skipped sample of each reason. Where
   * processes share the reading, all give the same batches, but each decodes the pictures of its rows: of others they are zeros.
   */
  batches(
    cursor: unknown | undefined,
    note: (text: string) => void,
    shared?: SharedReading,
  ): AsyncIterable<SampleBatch<K>>;
  /** Every sample once, in the order in which they lie; the last batches are smaller, or one row larger. */
  once(note: (text: string) => void): AsyncIterable<Omit<SampleBatch<K>, "cursor">>;
  /** The samples skipped so far by reason, each once, with the name of one. */
  skipped(): ReadonlyMap<string, { readonly count: number; readonly example: string }>;
  dispose(): Promise<void>;
}

/** The processes that share the reading, and which rows of a batch are this one's; batches are counted from the cursor on. */
export interface SharedReading {
  readonly among: Among;
  readonly owns: (batch: number, row: number) => boolean;
}

export interface OpenDataOptions<K extends SampleKind = SampleKind> {
  /** Rows of a batch. */
  readonly batch: number;
  readonly seed: number;
  readonly image: ImageOptions;
  /** The folder that the pictures of a list lie in; default the folder of the list. */
  readonly images?: string;
  /** BCP 47, of captions that do not say; default "und". */
  readonly language?: string;
  /** Samples among which the order is drawn, at least; default 16,384. */
  readonly buffer?: number;
  /** As people write them: "caption.words>=3", "unlike=test-images/", or the name of a .json that lists such. */
  readonly filters?: readonly string[];
  /** Threads that decode pictures; default `usualWorkers`. 0 decodes on this thread, to the same bits. */
  readonly workers?: number;
  /** How long a sample is, in any measure: rows of a batch are then of about one length. For kinds whose samples have no groups. */
  readonly wordsOf?: (sample: SampleOf<K>) => number;
}

const defaultBuffer = 2 ** 14;

/** Finds what the specs stand for and is ready to read it. FileError that lists every spec which is not there. */
export async function openData<K extends SampleKind>(
  specs: readonly string[],
  kind: K,
  options: OpenDataOptions<K>,
): Promise<OpenData<K>> {
  checkOptions(kind, options);
  const sources = await findSources(specs, kind, readOptions(options));
  const classes = classesOf(sources);
  const filters = await readFilters(options.filters ?? []);
  const pictures = renderer(options.image, options.workers);
  let note = (_: string) => {};
  const skips = skipCounts((text) => note(text));
  const streamOptions = { seed: options.seed, buffer: options.buffer ?? defaultBuffer, onSkip: skips.add };
  const open = sources.map((source, i) => streamOf(source, i, streamOptions));
  const drawing = { seed: options.seed, classes: new Map(classes?.map((name, i) => [name, i])) };
  const batchesOptions: BatchesOptions = {
    batch: options.batch,
    seed: options.seed,
    onSkip: skips.add,
    judge: (raw) => judge(filters, raw),
    render: pictures.render,
    ahead: Math.max(2 * pictures.concurrency, options.batch),
  };
  const sampleOf = (row: Row) => sampleMakers[kind](row, drawing) as SampleOf<K>;
  const batchOf = (rows: readonly Row[]) => ({
    pixels: pixelsOf(rows, options.image.size),
    samples: rows.map(sampleOf),
  });
  const { wordsOf } = options;
  const arranged = (from: CursorState, sharing: BatchesOptions["sharing"]) =>
    wordsOf
      ? bucketedBatches(open, from, { ...batchesOptions, wordsOf: (row) => wordsOf(sampleOf(row)) })
      : groupedBatches(open, from, { ...batchesOptions, ...(sharing && { sharing }) });
  /** With the pictures of own rows, which another process may have looked at. */
  const ownRows = (rows: readonly Row[], isOwn: (row: number) => boolean): Promise<Row[]> =>
    Promise.all(
      rows.map(async (row, i) => {
        const job = isOwn(i) && !row.rendered && renderJob(row.raw, row.ref, options.seed);
        return job ? { ...row, rendered: await pictures.render(job) } : row;
      }),
    );
  async function* batches(cursor: unknown | undefined, shared: SharedReading | undefined) {
    const from = cursor === undefined ? startOf(sources.length) : checkedCursor(cursor, specs, options.seed);
    let number = 0;
    for await (const { rows, next } of arranged(from, shared && { among: shared.among, window: options.batch })) {
      const at = number++;
      const given = shared ? await ownRows(rows, (row) => shared.owns(at, row)) : rows;
      yield { ...batchOf(given), cursor: { ...next, specs, seed: options.seed } };
    }
  }
  async function* once() {
    for await (const rows of orderedBatches(open, batchesOptions)) yield batchOf(rows);
  }
  return {
    kind,
    report: sources.map(describe),
    listing: listingOf(sources),
    ...(classes ? { classes } : {}),
    batches(cursor, noteTo, shared) {
      note = noteTo;
      // A mask is asked for with its sample, whosever row that is; rows of one length are rendered when they are known.
      return prefetch(batches(cursor, kind === "masks" || wordsOf ? undefined : shared), 1);
    },
    once(noteTo) {
      note = noteTo;
      return prefetch(once(), 1);
    },
    skipped: skips.counts,
    dispose: pictures.dispose,
  };
}

const readOptions = ({ language = "und", images }: Pick<OpenDataOptions, "language" | "images">) => ({
  language,
  ...(images === undefined ? {} : { images }),
});

function checkOptions(
  kind: SampleKind,
  { batch, workers = 1, wordsOf, image: { size } }: Omit<OpenDataOptions, "wordsOf"> & { wordsOf?: unknown },
): void {
  if (wordsOf && kind !== "conversations") throw new UsageError(`${kind} are not sorted by length, conversations are`);
  if (!Number.isInteger(workers) || workers < 0) {
    throw new UsageError(`the number of decoding threads is a whole number, 0 for none; it was given ${workers}`);
  }
  if (!Number.isInteger(batch) || batch < 1) {
    throw new UsageError(`a batch needs a whole number of rows, at least 1; it was given ${batch}`);
  }
  if (!Number.isInteger(size) || size < 1) {
    throw new UsageError(`the image size must be a whole number of pixels, it is ${size}`);
  }
}

function listingOf(sources: readonly Source[]): string {
  const all = sources.map(({ spec, weight, parts, count }) => [spec, weight, parts, count ?? null]);
  return createHash("sha256").update(JSON.stringify(all)).digest("hex");
}

const describe = ({ spec, parts, partName, weight }: Source) =>
  `${spec}: ${parts.length} ${partName}${parts.length === 1 ? "" : "s"}, weight ${weight}`;

function classesOf(sources: readonly Source[]): readonly string[] | undefined {
  const names = new Set(sources.flatMap(({ classes }) => classes ?? []));
  return names.size > 0 ? [...names].sort() : undefined;
}

function checkedCursor(cursor: unknown, specs: readonly string[], seed: number): CursorState {
  const given = isCursorState(cursor) ? (cursor as CursorState & Partial<DataCursor>) : undefined;
  if (!given || !Array.isArray(given.specs)) {
    throw new FileError("the data of the checkpoint says nothing of where to go on: it was saved by something else");
  }
  if (JSON.stringify(given.specs) !== JSON.stringify(specs) || given.places.length !== specs.length) {
    const [was, is] = [given.specs, specs].map((list) => list.join(" "));
    throw new FileError(
      `the checkpoint was saved in training on ${was}, not on ${is}: give the same data in the same order`,
    );
  }
  if (given.seed !== seed) {
    throw new FileError(`the checkpoint's data was drawn with seed ${given.seed}, not ${seed}: give the same seed`);
  }
  return given;
}

function pixelsOf(rows: readonly Row[], size: number): HostTensor {
  const data = new Float32Array(rows.length * 3 * size * size);
  for (const [i, { rendered }] of rows.entries()) if (rendered) data.set(rendered.pixels, i * 3 * size * size);
  const axes = [
    { name: "batch", size: rows.length },
    { name: "channel", size: 3 },
    { name: "row", size },
    { name: "column", size },
  ];
  return hostTensor("f32", axes, data);
}

interface Drawing {
  readonly seed: number;
  readonly classes: ReadonlyMap<string, number>;
}

const nameOf = ({ image, name }: RawSample) => (image === undefined ? name : imageName(image));

/** What a stage is given of a row. What is drawn depends on where the sample lies, never on which batch it comes in. */
const sampleMakers: { readonly [K in SampleKind]: (row: Row, drawing: Drawing) => SampleOf<K> } = {
  pairs: ({ raw, ref }, { seed }) => {
    const random = seededRandom(seed, streams.row, ...ref);
    const language = pick(random, Object.keys(raw.texts!));
    const texts = raw.texts![language]!;
    return { group: raw.group, image: nameOf(raw), language, text: pick(random, texts), texts };
  },
  conversations: ({ raw }) => ({
    id: raw.id!,
    turns: raw.turns!,
    ...(raw.image === undefined ? {} : { image: nameOf(raw) }),
  }),
  labels: ({ raw }, { classes }) => ({
    image: nameOf(raw),
    label: raw.label ?? classes.get(raw.className!)!,
    name: raw.className ?? String(raw.label),
  }),
  masks: ({ raw, rendered }) => ({ image: nameOf(raw), mask: rendered!.mask! }),
};
