/** Training data: samples of one kind from several sources, in batches, starting at any cursor. */
import {
  FileError,
  type HostTensor,
  hostTensor,
  requireImageSize,
  sidesOf,
  squareSide,
  UsageError,
} from "../compiler/index.ts";
import type { Among } from "./among.ts";
import { bucketedBatches } from "./bucketed-batches.ts";
import { prefetch } from "./concurrency.ts";
import { checkedCursor, type DataCursor, type OnChange, placeIn } from "./cursor.ts";
import type { ImageOptions } from "./decoding/render.ts";
import { renderer } from "./decoding/threads.ts";
import type { OnSkip, Skipped } from "./files.ts";
import { judge, readFilters } from "./filters/filter.ts";
import { type BatchesOptions, type CursorState, groupedBatches, startOf } from "./grouped-batches.ts";
import { countTiles, imageName } from "./images.ts";
import { type ListedFile, listingOf } from "./listing.ts";
import { type Row, renderJob } from "./mixture.ts";
import { streams } from "./order.ts";
import { orderedBatches } from "./ordered-batches.ts";
import { pick, seededRandom } from "./random.ts";
import { amount, type StreamOptions, streamOf } from "./sample-stream.ts";
import type { RawSample, SampleKind, SampleOf } from "./samples.ts";
import { isSkipsSoFar, noSkips, type SkipsSoFar, skipCounts } from "./skips.ts";
import { findSources } from "./sources/find.ts";
import type { Source } from "./sources/source.ts";

/** The samples of one step. */
export interface SampleBatch<K extends SampleKind> {
  /**
   * f32 [batch, channel, row, column], normalized; zeros for a sample without an image. With tiles, each sample has
   * `room` rows.
   */
  readonly pixels: K extends "texts" ? undefined : HostTensor;
  /** Sample i belongs to row i of the pixels, or to its `room` rows of tiles. */
  readonly samples: readonly SampleOf<K>[];
  /** Where the data continues after this batch: plain JSON, to be saved with the checkpoint taken after the step. */
  readonly cursor: DataCursor;
  /** The cursor of this batch itself. */
  readonly at: DataCursor;
}

export interface OpenSource {
  readonly spec: string;
  readonly weight: number;
  /** Samples per epoch, including broken and filtered ones, if known without reading everything. */
  readonly count?: number;
}

export interface OpenData<K extends SampleKind> {
  readonly kind: K;
  /** A line per spec, for display: "shards/{000..099}.tar: 100 shards, weight 1". */
  readonly report: readonly string[];
  /** One per spec, in order. */
  readonly sources: readonly OpenSource[];
  /** Class names by label, for kind "labels". */
  readonly classes?: readonly string[];
  /** The data's current files, in the order of the specs. */
  files(): Promise<readonly ListedFile[]>;
  /**
   * Endless batches from the cursor on, or from the beginning. `note` receives the first skipped sample of each reason.
   * FileError when the files differ from the cursor's, unless `onChange` allows it. With shared reading, all processes
   * yield the same batches, but each decodes only the images of its own rows: the others are zeros.
   */
  batches(
    cursor: unknown | undefined,
    note: (text: string) => void,
    shared?: SharedReading,
  ): AsyncIterable<SampleBatch<K>>;
  /** Every sample once, in stored order; the last batches may be smaller, or one row larger. */
  once(note: (text: string) => void): AsyncIterable<Omit<SampleBatch<K>, "cursor" | "at">>;
  /** Samples skipped since the beginning of the run, each counted once, by reason with an example. */
  skipped(): ReadonlyMap<string, { readonly count: number; readonly example: string }>;
  dispose(): Promise<void>;
}

/**
 * The processes that share the reading, and the owner of each row of a batch; batches are counted from the cursor on.
 */
export interface SharedReading {
  readonly among: Among;
  readonly ownerOf: (batch: number, row: number) => number;
}

export interface OpenDataOptions<K extends SampleKind = SampleKind> {
  /** Rows per batch. */
  readonly batch: number;
  readonly seed: number;
  /** For kinds with images. */
  readonly image?: ImageOptions;
  /** The folder of a list's images; default the list's folder. */
  readonly images?: string;
  /** Language (BCP 47) of captions that do not state one; default "und". */
  readonly language?: string;
  /** Minimum number of samples in the shuffle buffer; default 16,384. */
  readonly buffer?: number;
  /** Filter expressions: "caption.words>=3", "unlike=test-images/", or the name of a .json file that lists some. */
  readonly filters?: readonly string[];
  /** Worker threads for decoding; default `usualWorkers`. 0 decodes on this thread, with identical results. */
  readonly workers?: number;
  /** What to do when the data's files changed since the cursor was saved; default "refuse". */
  readonly onChange?: OnChange;
  /** The length of a sample, in any unit, to bucket batches by. Only for kinds whose samples have no groups. */
  readonly wordsOf?: (sample: SampleOf<K>) => number;
}

const defaultBuffer = 2 ** 14;

/** Resolves the specs and prepares to read them. FileError listing every spec that does not exist or has no samples. */
export async function openData<K extends SampleKind>(
  specs: readonly string[],
  kind: K,
  options: OpenDataOptions<K>,
): Promise<OpenData<K>> {
  checkOptions(kind, options);
  const sources = await findSources(specs, kind, readOptions(options));
  const classes = classesOf(sources);
  const filters = await readFilters(options.filters ?? []);
  let note = (_: string) => {};
  let skips = skipCounts();
  const early: Skipped[] = []; // samples skipped before batches are requested
  let onSkip: OnSkip = (skipped) => early.push(skipped);
  const streamOptions: StreamOptions = {
    seed: options.seed,
    buffer: options.buffer ?? defaultBuffer,
    onSkip: (skipped) => onSkip(skipped),
    note: (text) => note(text),
  };
  const open = sources.map((source, i) => streamOf(source, i, streamOptions));
  const counts = await Promise.all(open.map((stream) => stream.count()));
  requireSamples(sources, counts, early);
  const pictures = options.image && renderer(options.image, options.workers);
  const { size = 1, tiles } = options.image ?? {};
  const { width, height } = sidesOf(size);
  const drawing = {
    seed: options.seed,
    tileNumbers: tiles && 3 * width * height,
    classes: new Map(classes?.map((name, i) => [name, i])),
  };
  const batchesOptions: BatchesOptions = {
    batch: options.batch,
    seed: options.seed,
    onSkip: streamOptions.onSkip,
    judge: (raw) => judge(filters, raw),
    ...(pictures && { render: pictures.render }),
    ahead: Math.max(2 * (pictures?.concurrency ?? 1), options.batch),
  };
  const sampleOf = (row: Row) => sampleMakers[kind](row, drawing) as SampleOf<K>;
  const batchOf = (rows: readonly Row[]) => ({
    pixels: (options.image && pixelsOf(rows, options.image)) as SampleBatch<K>["pixels"],
    samples: rows.map(sampleOf),
  });
  const { wordsOf } = options;
  const arranged = (from: CursorState, sharing: BatchesOptions["sharing"]) =>
    wordsOf
      ? bucketedBatches(open, from, { ...batchesOptions, wordsOf: (row) => wordsOf(sampleOf(row)) })
      : groupedBatches(open, from, { ...batchesOptions, ...(sharing && { sharing }) });
  /** Adds the images of the process's own rows, which another process may have checked. */
  const ownRows = (rows: readonly Row[], isOwn: (row: number) => boolean): Promise<Row[]> =>
    Promise.all(
      rows.map(async (row, i) => {
        const job = isOwn(i) && !row.rendered && renderJob(row.raw, row.ref, options.seed);
        if (job && pictures) return { ...row, rendered: await pictures.render(job) };
        const { image } = row.raw;
        return tiles && image && !row.rendered
          ? { ...row, tiles: await countTiles(image, { size: width, ...tiles }) }
          : row;
      }),
    );
  const files = async () => (await Promise.all(sources.map((source) => source.files()))).flat();
  async function* batches(cursor: unknown | undefined, shared: SharedReading | undefined) {
    const { seed } = options;
    const given = cursor === undefined ? undefined : checkedCursor(cursor, specs, seed);
    const found = await files();
    const listing = listingOf(found);
    const from = given ? placeIn(given, found, options.onChange ?? "refuse", note) : startOf(sources.length);
    const ownerOf = (row: number) => shared!.ownerOf(Math.floor(row / options.batch), row % options.batch);
    const waiting = from.waiting.length; // they come first
    const sharing = shared && {
      among: shared.among,
      window: options.batch,
      ownerOf: (row: number) => ownerOf(waiting + row),
    };
    const cursorAt = (place: CursorState): DataCursor => ({
      ...place,
      ...{ specs, seed, listing, skipped: skips.soFar() },
    });
    let number = 0;
    let at = cursorAt(from);
    for await (const { rows, next } of arranged(from, sharing)) {
      const batch = number++;
      const own = shared ? await ownRows(rows, (row) => shared.ownerOf(batch, row) === shared.among.rank) : rows;
      const cursor = cursorAt(next);
      yield { ...batchOf(own), cursor, at };
      at = cursor;
    }
  }
  async function* once() {
    for await (const rows of orderedBatches(open, batchesOptions)) yield batchOf(rows);
  }
  const told = new Set<string>(); // reading everything again reports nothing twice
  const begin = (noteTo: (text: string) => void, from: SkipsSoFar) => {
    note = noteTo;
    skips = skipCounts(note, from, told);
    onSkip = skips.add;
    early.forEach(onSkip);
  };
  return {
    kind,
    report: sources.map((source, i) => describe(source, counts[i])),
    sources: sources.map(({ spec, weight }, i) => ({
      spec,
      weight,
      ...(counts[i] !== undefined && { count: counts[i] }),
    })),
    ...(classes ? { classes } : {}),
    files,
    batches(cursor, noteTo, shared) {
      const { skipped } = (cursor ?? {}) as Partial<DataCursor>;
      begin(noteTo, isSkipsSoFar(skipped) ? skipped : noSkips);
      // Masks are needed with every sample, whoever owns the row; bucketed rows are rendered once their batch is known.
      return prefetch(batches(cursor, kind === "masks" || wordsOf ? undefined : shared), 1);
    },
    once(noteTo) {
      begin(noteTo, skips.soFar());
      return prefetch(once(), 1);
    },
    skipped: () => skips.counts(),
    dispose: async () => await pictures?.dispose(),
  };
}

const readOptions = ({ language = "und", images }: Pick<OpenDataOptions, "language" | "images">) => ({
  language,
  ...(images === undefined ? {} : { images }),
});

function checkOptions(
  kind: SampleKind,
  { batch, workers = 1, wordsOf, image }: Omit<OpenDataOptions, "wordsOf"> & { wordsOf?: unknown },
): void {
  if (wordsOf && kind !== "conversations")
    throw new UsageError(`${kind} cannot be sorted by length, only conversations can`);
  if (!Number.isInteger(workers) || workers < 0) {
    throw new UsageError(`the number of decoding threads must be a non-negative integer (0 for none), got ${workers}`);
  }
  if (!Number.isInteger(batch) || batch < 1) {
    throw new UsageError(`the batch size must be an integer of at least 1, got ${batch}`);
  }
  if ((image === undefined) !== (kind === "texts"))
    throw new UsageError(`${kind} must be opened ${image ? "without" : "with"} \`image\`, the image preprocessing`);
  const { size, tiles } = image ?? { size: 1 };
  if (tiles && kind !== "conversations")
    throw new UsageError(`images of ${kind} cannot be split into tiles, only those of conversations can`);
  requireImageSize(size);
  if (tiles) squareSide(size, "cutting images into tiles");
}

function describe({ spec, parts, partName, weight }: Source, count: number | undefined): string {
  const found = `${parts.length} ${partName}${parts.length === 1 ? "" : "s"}`;
  const held = count === undefined ? "number of samples unknown until all have been read" : amount(count);
  return `${spec}: ${found}, weight ${weight}, ${held}`;
}

function requireSamples(
  sources: readonly Source[],
  counts: readonly (number | undefined)[],
  early: readonly Skipped[],
): void {
  const empty = sources.filter((_, i) => counts[i] === 0).map(({ spec }) => spec);
  if (empty.length === 0) return;
  const why = early.slice(0, 3).map(({ name, reason }) => `\n  ${name}: ${reason}`);
  throw new FileError(`${empty.join(" and ")} ${empty.length === 1 ? "has" : "have"} no samples${why.join("")}`);
}

function classesOf(sources: readonly Source[]): readonly string[] | undefined {
  const names = new Set(sources.flatMap(({ classes }) => classes ?? []));
  return names.size > 0 ? [...names].sort() : undefined;
}

function pixelsOf(rows: readonly Row[], { size, tiles }: ImageOptions): HostTensor {
  const { room } = tiles ?? { room: 1 };
  const { width, height } = sidesOf(size);
  const each = room * 3 * width * height;
  const data = new Float32Array(rows.length * each);
  for (const [i, { rendered }] of rows.entries()) if (rendered) data.set(rendered.pixels, i * each);
  const axes = [
    { name: "batch", size: rows.length * room },
    { name: "channel", size: 3 },
    { name: "row", size: height },
    { name: "column", size: width },
  ];
  return hostTensor("f32", axes, data);
}

interface Drawing {
  readonly seed: number;
  /** Values per tile; undefined for untiled images. */
  readonly tileNumbers: number | undefined;
  readonly classes: ReadonlyMap<string, number>;
}

const nameOf = ({ image, name }: RawSample) => (image === undefined ? name : imageName(image));

/**
 * Converts rows to samples of each kind. Random choices depend on the sample's location, never on the batch it is in.
 */
const sampleMakers: { readonly [K in SampleKind]: (row: Row, drawing: Drawing) => SampleOf<K> } = {
  pairs: ({ raw, ref }, { seed }) => {
    const random = seededRandom(seed, streams.row, ...ref);
    const language = pick(random, Object.keys(raw.texts!));
    const texts = raw.texts![language]!;
    return { group: raw.group, image: nameOf(raw), language, text: pick(random, texts), texts };
  },
  conversations: ({ raw, rendered, tiles }, { tileNumbers }) => ({
    id: raw.id!,
    turns: raw.turns!,
    ...(raw.image === undefined ? {} : { image: nameOf(raw) }),
    ...(tiles !== undefined && { tiles }),
    ...(tileNumbers && rendered && { tiles: rendered.pixels.length / tileNumbers }),
  }),
  labels: ({ raw }, { classes }) => ({
    image: nameOf(raw),
    label: raw.label ?? classes.get(raw.className!)!,
    name: raw.className ?? String(raw.label),
  }),
  texts: ({ raw: { name, texts, ends = true } }) => ({ id: name, text: Object.values(texts!)[0]![0]!, ends }),
  masks: ({ raw, rendered }) => ({ image: nameOf(raw), mask: rendered!.mask! }),
};
