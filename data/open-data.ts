/** Training data: samples of one kind from several sources, in batches, starting at any cursor. */
import { FileError, type HostTensor, requireImageSize, sidesOf, squareSide, UsageError } from "../compiler/index.ts";
import type { Among } from "./among.ts";
import { bucketedBatches } from "./bucketed-batches.ts";
import { prefetch } from "./concurrency.ts";
import { checkedCursor, type DataCursor, type OnChange, placeIn } from "./cursor.ts";
import type { ImageOptions } from "./decoding/render.ts";
import { renderer } from "./decoding/threads.ts";
import type { Skipped } from "./files.ts";
import { judge, readFilters } from "./filters/filter.ts";
import { type BatchesOptions, type CursorState, groupedBatches, startOf } from "./grouped-batches.ts";
import { countTiles } from "./images.ts";
import { type ListedFile, listingOf } from "./listing.ts";
import { type Row, renderJob } from "./mixture.ts";
import { orderedBatches } from "./ordered-batches.ts";
import { pixelsOf, sampleMaker } from "./row-samples.ts";
import { amount, SampleStream } from "./sample-stream.ts";
import type { SampleKind, SampleOf } from "./samples.ts";
import { isSkipsSoFar, noSkips, SkipReports } from "./skips.ts";
import { findSources } from "./sources/find.ts";
import type { Source } from "./sources/source.ts";

/** The samples of one step. */
export interface SampleBatch<K extends SampleKind> {
  /**
   * f32 [batch, channel, row, column], normalized; zeros for a sample without an image. With tiles, each sample has
   * `room` rows. Undefined for texts, and for records that are read without images.
   */
  readonly pixels: K extends "texts" ? undefined : K extends "records" ? HostTensor | undefined : HostTensor;
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
  /** For kinds with images; records are read with their images, which they must have, or without. */
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
  const pictured = kind === "records" ? { pictured: options.image !== undefined } : {};
  const sources = await findSources(specs, kind, { ...readOptions(options), ...pictured });
  const filters = await readFilters(options.filters ?? []);
  const skips = new SkipReports();
  const { seed, buffer = defaultBuffer } = options;
  const open = sources.map(
    (source, i) => new SampleStream(source, i, { seed, buffer, onSkip: skips.add, note: skips.note }),
  );
  const counts = await Promise.all(open.map((stream) => stream.count()));
  requireSamples(sources, counts, skips.early);
  return new Opened(specs, kind, options, { sources, open, counts, filters, skips });
}

/** What was found and opened, before rows are read. */
interface Found {
  readonly sources: readonly Source[];
  readonly open: readonly SampleStream[];
  readonly counts: readonly (number | undefined)[];
  readonly filters: Awaited<ReturnType<typeof readFilters>>;
  readonly skips: SkipReports;
}

/** Its functions are properties, so that they can be passed on alone. */
class Opened<K extends SampleKind> implements OpenData<K> {
  readonly kind: K;
  readonly report: readonly string[];
  readonly sources: readonly OpenSource[];
  readonly classes?: readonly string[];
  readonly #specs: readonly string[];
  readonly #options: OpenDataOptions<K>;
  readonly #found: Found;
  readonly #pictures: ReturnType<typeof renderer> | undefined;
  readonly #sampleOf: (row: Row) => SampleOf<K>;

  constructor(specs: readonly string[], kind: K, options: OpenDataOptions<K>, found: Found) {
    const { sources, counts } = found;
    const classes = classesOf(sources);
    this.kind = kind;
    this.report = sources.map((source, i) => describe(source, counts[i]));
    this.sources = sources.map(({ spec, weight }, i) => {
      const count = counts[i];
      return { spec, weight, ...(count !== undefined && { count }) };
    });
    if (classes) this.classes = classes;
    this.#specs = specs;
    this.#options = options;
    this.#found = found;
    this.#pictures = options.image && renderer(options.image, options.workers);
    this.#sampleOf = sampleMaker(kind, { ...options, ...(classes && { classes }) });
  }

  readonly files = async (): Promise<readonly ListedFile[]> =>
    (await Promise.all(this.#found.sources.map((source) => source.files()))).flat();

  readonly batches: OpenData<K>["batches"] = (cursor, note, shared) => {
    const { skipped } = (cursor ?? {}) as Partial<DataCursor>;
    this.#found.skips.begin(note, isSkipsSoFar(skipped) ? skipped : noSkips);
    // Masks are needed with every sample, whoever owns the row; bucketed rows are rendered once their batch is known.
    const isSharable = this.kind !== "masks" && !this.#options.wordsOf;
    return prefetch(this.#batches(cursor, isSharable ? shared : undefined), 1);
  };

  readonly once: OpenData<K>["once"] = (note) => {
    this.#found.skips.begin(note);
    return prefetch(this.#once(), 1);
  };

  readonly skipped = () => this.#found.skips.counts();

  readonly dispose = async (): Promise<void> => await this.#pictures?.dispose();

  async *#once() {
    for await (const rows of orderedBatches(this.#found.open, this.#reading())) yield this.#batchOf(rows);
  }

  async *#batches(cursor: unknown | undefined, shared: SharedReading | undefined) {
    const { from, cursorAt } = await this.#place(cursor);
    let number = 0;
    let at = cursorAt(from);
    for await (const { rows, next } of this.#arranged(from, shared)) {
      const batch = number++;
      const own = shared ? await this.#ownRows(rows, (row) => shared.ownerOf(batch, row) === shared.among.rank) : rows;
      const cursor = cursorAt(next);
      yield { ...this.#batchOf(own), cursor, at };
      at = cursor;
    }
  }

  /** Where a cursor, or the beginning, is in the current files; FileError when they are not those of the cursor. */
  async #place(cursor: unknown | undefined) {
    const { seed, onChange = "refuse" } = this.#options;
    const { skips, sources } = this.#found;
    const [specs, given] = [this.#specs, cursor === undefined ? undefined : checkedCursor(cursor, this.#specs, seed)];
    const files = await this.files();
    const listing = listingOf(files);
    return {
      from: given ? placeIn(given, files, onChange, skips.note) : startOf(sources.length),
      cursorAt: (place: CursorState): DataCursor => ({ ...place, specs, seed, listing, skipped: skips.soFar() }),
    };
  }

  /** Endless batches of rows: without two of one group, or of similar length. */
  #arranged(from: CursorState, shared: SharedReading | undefined) {
    const { wordsOf, batch } = this.#options;
    if (wordsOf)
      return bucketedBatches(this.#found.open, from, {
        ...this.#reading(),
        wordsOf: (row) => wordsOf(this.#sampleOf(row)),
      });
    const waiting = from.waiting.length; // they come first
    const ownerOf = ({ ownerOf }: SharedReading, row: number) => ownerOf(Math.floor(row / batch), row % batch);
    const sharing = shared && {
      among: shared.among,
      window: batch,
      ownerOf: (row: number) => ownerOf(shared, waiting + row),
    };
    return groupedBatches(this.#found.open, from, { ...this.#reading(), ...(sharing && { sharing }) });
  }

  #reading(): BatchesOptions {
    const { batch, seed } = this.#options;
    const { filters, skips } = this.#found;
    const pictures = this.#pictures;
    return {
      batch,
      seed,
      onSkip: skips.add,
      judge: (raw) => judge(filters, raw),
      ...(pictures && { render: pictures.render }),
      ahead: Math.max(2 * (pictures?.concurrency ?? 1), batch),
    };
  }

  /** Adds the images of the process's own rows, which another process may have checked. */
  async #ownRows(rows: readonly Row[], isOwn: (row: number) => boolean): Promise<Row[]> {
    const { seed, image: how } = this.#options;
    const one = async (row: Row, i: number): Promise<Row> => {
      if (row.rendered) return row;
      const job = isOwn(i) && renderJob(row.raw, row.ref, seed);
      if (job && this.#pictures) return { ...row, rendered: await this.#pictures.render(job) };
      const { image } = row.raw;
      if (!how?.tiles || !image) return row;
      return { ...row, tiles: await countTiles(image, { size: sidesOf(how.size).width, ...how.tiles }) };
    };
    return await Promise.all(rows.map(one));
  }

  #batchOf(rows: readonly Row[]): Pick<SampleBatch<K>, "pixels" | "samples"> {
    const { image } = this.#options;
    return {
      pixels: (image && pixelsOf(rows, image)) as SampleBatch<K>["pixels"],
      samples: rows.map(this.#sampleOf),
    };
  }
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
  if (kind !== "records" && (image === undefined) !== (kind === "texts"))
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
