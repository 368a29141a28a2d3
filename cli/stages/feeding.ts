/** The batches of a stage: samples of the user's data, converted to the step's inputs. */
import { crc32 } from "node:zlib";
import { type HostTensor, hostTensor, type SizedAxis, UsageError } from "../../compiler/index.ts";
import {
  type DataCursor,
  filesAre,
  type Listing,
  listingOf,
  type OnChange,
  type OpenData,
  type OpenSource,
  openData,
  packedTexts,
  type SharedReading,
  seededRandom,
} from "../../data/index.ts";
import {
  bareIds,
  type FeedContext,
  type Feeds,
  type Recipe,
  type SampleKind,
  type SampleOf,
  type StageData,
  type StageSetting,
  type TextCodec,
} from "../../dsl/index.ts";
import {
  type Json,
  type Settings,
  type SharedRows,
  type TrainingBatch,
  type TrainingJob,
  writtenConversation,
} from "../../runtime/index.ts";
import { beginningWithTargets, hasTarget } from "./targets.ts";

/** Held-out samples, and the feeds made of them. */
export interface ValidationBatch {
  readonly samples: readonly object[];
  readonly feeds: Feeds;
}

export interface StageFeeding extends Pick<TrainingJob, "batches"> {
  readonly listing: string;
  /** Messages, one for each source of samples. */
  readonly report: readonly string[];
  /** Counts of skipped and changed samples from the run's start up to a cursor. */
  readonly told: (cursor: Json) => Readonly<Record<string, Json>>;
  /** The validation data: every sample once, its image whole, the same each time. */
  readonly validation?: (note: (text: string) => void) => AsyncIterable<ValidationBatch>;
  readonly dispose: () => Promise<void>;
}

/** Opens the data of a stage. Throws UsageError if it has more classes than the model. */
export async function feedStage(
  { data, steps, batch: rowsOfStep }: Pick<Recipe, "data" | "steps" | "batch">,
  settings: Settings,
  batch: number,
  text: TextCodec | undefined,
  onChange: OnChange = "refuse",
): Promise<StageFeeding> {
  const { feeds } = data!;
  const seed = Number(settings.seed);
  // A step may not hold two samples of a group, even in different micro-batches.
  const parts = data!.kind === "pairs" ? Number(settings.accumulate) : 1;
  const opened = await openStageData(
    data!,
    lines(settings.data),
    [...(data!.filters ?? []), ...lines(settings.filters)],
    settings,
    parts * batch,
    text,
    onChange,
  );
  const judged = await openValidation(data!, settings, batch, text).catch(async (error: unknown) => {
    await opened.dispose();
    throw error;
  });
  const packed = (data!.perRow ?? 1) > 1; // input rows then hold several samples
  const rows = (samples: unknown) => samples as readonly SampleOf<SampleKind>[];
  const made = (samples: readonly SampleOf<SampleKind>[], context: FeedContext) => {
    requireClasses(data!, samples);
    return feeds(samples, context);
  };
  const accumulate = Number(settings.accumulate);
  /** An opened batch is a step, or one of its micro-batches. */
  const sharing = (shared: SharedRows | undefined): SharedReading | undefined =>
    shared && {
      among: shared,
      ownerOf: (number, row) =>
        shared.rankOf(Math.floor((parts > 1 ? row : (number % accumulate) * batch + row) / (data!.perRow ?? 1))),
    };
  async function* batches(cursor: Json | undefined, note: (text: string) => void, shared?: SharedRows) {
    const begun = (cursor ?? {}) as Partial<StageCursor>;
    const counts = changeCounts(begun.changed, note);
    const made = madeBatches(cursor, note, counts, shared);
    if (cursor) yield* made;
    else yield* beginningWithTargets(made, { targets: data!.targets, rows: batch, counts: counts.soFar });
  }
  async function* madeBatches(
    cursor: Json | undefined,
    note: (text: string) => void,
    counts: ReturnType<typeof changeCounts>,
    shared: SharedRows | undefined,
  ) {
    const begun = (cursor ?? {}) as Partial<StageCursor>;
    const judgedOn = judged && (await comparedFiles(judged, begun.validation, onChange, note));
    let before = cursor ?? null; // steps end with their last part: no run resumes from another
    for await (const { pixels, samples, cursor: after } of opened.batches(cursor, note, sharing(shared))) {
      const { listing: _, skipped: __, ...place } = after;
      const inputs: Pick<TrainingBatch, "feeds" | "names">[] = [];
      for (let part = 0; part < parts; part += 1) {
        const key = (parts === 1 ? place : [place, part]) as unknown as Json;
        const [from, to] = [part * batch, (part + 1) * batch];
        const context = contextOf(text, seed, key, counts.add);
        const own = rows(samples).slice(from, to);
        const each = data!.image?.tiles?.room ?? 1;
        const shown = pixels && { pixels: rowsOf(pixels, from * each, to * each) };
        const feeds = { ...shown, ...made(own, context) };
        if (!hasTarget(feeds, data!.targets)) counts.add(`batches of ${batch} samples without a target train nothing`);
        inputs.push({ feeds, ...(packed || data!.kind === "texts" ? {} : { names: own.map(nameOf) }) });
      }
      const next = { ...after, changed: counts.soFar(), ...(judgedOn && { validation: judgedOn }) } as unknown as Json;
      for (const [part, made] of inputs.entries()) yield { ...made, next: part + 1 < parts ? before : next };
      before = next;
    }
  }
  const tellingOnce = new Set<string>();
  async function* validation(note: (text: string) => void) {
    let number = 0;
    for await (const { pixels, samples } of judged!.once(note)) {
      const context = contextOf(text, seed, ["validation", number++], (what) => {
        if (!tellingOnce.has(what)) note(`validation: ${what}`);
        tellingOnce.add(what);
      });
      const shown = pixels && { pixels: wholeRows(pixels, data!.perRow) };
      yield { samples, feeds: { ...shown, ...made(rows(samples), context) } };
    }
  }
  return {
    batches,
    listing: listingOf(await opened.files()).digest,
    report: [
      ...opened.report,
      data!.kind === "texts"
        ? tokensText(steps * rowsOfStep, data!.length! - 1)
        : epochsText(opened.sources, steps * rowsOfStep),
      ...(judged?.report ?? []).map((line) => `validation: ${line}`),
    ],
    told: (cursor) => {
      const { specs = [], places = [], skipped, changed } = (cursor ?? {}) as Partial<StageCursor>;
      const reasons = Object.entries(skipped?.reasons ?? {}).map(([reason, counted]) => [reason, { ...counted }]);
      const epochs = Object.fromEntries(specs.map((spec, i) => [spec, 1 + (places[i]?.epoch ?? 0)]));
      return { skipped: Object.fromEntries(reasons), changed: { ...changed }, epochs };
    },
    ...(judged && { validation }),
    dispose: async () => {
      await Promise.all([opened.dispose(), judged?.dispose()]);
    },
  };
}

const nameOf = (sample: object): string => {
  const { image, id } = sample as { readonly image?: string; readonly id?: string };
  return image ?? `conversation ${id}`;
};

/** Epochs of each source in a run: "8 samples: 1.33 epochs". */
function epochsText(sources: readonly OpenSource[], samples: number): string {
  const total = sources.reduce((sum, { weight }) => sum + weight, 0);
  const each = sources.map(({ spec, weight, count }) => {
    const of = sources.length > 1 ? ` of ${spec}` : "";
    if (count === undefined) return `epochs${of} unknown until all data was read once`;
    const epochs = (samples * weight) / total / count;
    return `${epochs.toLocaleString("en", { maximumSignificantDigits: 3 })} epochs${of}`;
  });
  return `the run trains on ${samples.toLocaleString("en")} samples: ${each.join(", ")}, more of them where samples are skipped`;
}

const tokensText = (rows: number, length: number): string =>
  `the run trains on ${rows.toLocaleString("en")} rows of ${length.toLocaleString("en")} tokens: ${(rows * length).toLocaleString("en")} tokens`;

/** The data state in a stage's checkpoints. */
interface StageCursor extends DataCursor {
  /** Counts of changed samples by kind of change, from the run's start. */
  readonly changed: Readonly<Record<string, number>>;
  /** The files that `--validate` names. */
  readonly validation?: Listing;
}

/** The listing of validation files, which a resumed run must find unchanged. */
async function comparedFiles(
  judged: Opened,
  listing: Listing | undefined,
  onChange: OnChange,
  note: (text: string) => void,
): Promise<Listing> {
  const files = await judged.files();
  if (listing !== undefined) filesAre("validation data", listing, files, onChange, note);
  // Fails now, not at the first validation.
  for await (const _ of judged.once(note)) return listingOf(files);
  throw new UsageError("validation found no usable sample: the reasons are reported above");
}

/** Counts changes to samples, and reports the first of each kind. */
function changeCounts(from: Readonly<Record<string, number>> = {}, note: (text: string) => void) {
  let counts = from;
  const told = new Set<string>();
  return {
    add(what: string): void {
      if (!told.has(what)) note(what);
      told.add(what);
      counts = { ...counts, [what]: (counts[what] ?? 0) + 1 };
    },
    soFar: () => counts,
  };
}

/** Some rows of a batch. */
function rowsOf(tensor: HostTensor, from: number, to: number): HostTensor {
  const [{ name, size }, ...axes] = tensor.axes as [SizedAxis, ...SizedAxis[]];
  if (from === 0 && to === size) return tensor;
  const each = tensor.data.length / size;
  return hostTensor(tensor.dtype, [{ name, size: to - from }, ...axes], tensor.data.subarray(from * each, to * each));
}

/** Pads a batch with zeros to a multiple of images per row. */
function wholeRows(tensor: HostTensor, perRow = 1): HostTensor {
  const [{ name, size }, ...axes] = tensor.axes as [SizedAxis, ...SizedAxis[]];
  const full = perRow * Math.ceil(size / perRow);
  if (full === size) return tensor;
  const data = new Float32Array((tensor.data.length / size) * full);
  data.set(tensor.data as Float32Array);
  return hostTensor(tensor.dtype, [{ name, size: full }, ...axes], data);
}

/** Opens the validation data, without augmentation; undefined if there is none. */
async function openValidation(
  data: StageData,
  settings: Settings,
  batch: number,
  text: TextCodec | undefined,
): Promise<Opened | undefined> {
  const { augmentation: _, ...image } = data.image ?? { size: 0, fit: "squash" as const };
  const specs = lines(settings.validate);
  const plain = data.image ? { ...data, image } : data;
  return specs.length === 0 ? undefined : await openStageData(plain, specs, [], settings, batch, text);
}

/** Opened data: rows of samples, or of packed texts. */
type Opened = Pick<OpenData<SampleKind>, "sources" | "report" | "files" | "dispose"> & {
  batches(
    cursor: Json | undefined,
    note: (text: string) => void,
    shared?: SharedReading,
  ): AsyncIterable<{
    readonly pixels?: HostTensor | undefined;
    readonly samples: readonly object[];
    readonly cursor: DataCursor;
  }>;
  once(
    note: (text: string) => void,
  ): AsyncIterable<{ readonly pixels?: HostTensor | undefined; readonly samples: readonly object[] }>;
};

/** Opens a stage's data. Throws UsageError if it has more classes than the model. */
async function openStageData(
  { kind, image, classes, length }: StageData,
  specs: readonly string[],
  filters: readonly string[],
  settings: Settings,
  batch: number,
  text: TextCodec | undefined,
  onChange: OnChange = "refuse",
): Promise<Opened> {
  const how = {
    seed: Number(settings.seed),
    buffer: Number(settings.buffer),
    language: String(settings.language),
    filters,
    onChange,
  };
  if (kind === "texts") {
    if (length === undefined || !text)
      throw new UsageError(
        "data of texts needs `length`, the number of tokens in a row, and `vocabulary`, the model's vocabulary size",
      );
    const opened = await openData(specs, kind, { ...how, batch: 1 });
    const encode = (words: string) => bareIds(text, words);
    return packedTexts(opened, { rows: batch, length, encode, end: text.eos });
  }
  if (!image) throw new UsageError(`data of ${kind} needs \`image\`, which declares how images are preprocessed`);
  const opened: OpenData<SampleKind> = await openData<SampleKind>(specs, kind, {
    ...how,
    batch,
    image,
    ...(Number(settings.workers) >= 0 && { workers: Number(settings.workers) }),
    ...(settings.images !== "" && { images: String(settings.images) }),
  });
  if (classes === undefined || !opened.classes || opened.classes.length <= classes) return opened;
  await opened.dispose();
  throw new UsageError(
    `the data has ${opened.classes.length} classes, but the model has ${classes}: change the model's "classes" with --set`,
  );
}

/** Throws UsageError for a label beyond the model's classes: labels in shards are only known when read. */
function requireClasses({ kind, classes = Infinity }: StageData, samples: readonly object[]): void {
  if (kind !== "labels") return;
  for (const { label, image } of samples as readonly { readonly label: number; readonly image?: string }[])
    if (label >= classes)
      throw new UsageError(
        `${image} has class ${label}, but the model has ${classes} classes, numbered from 0: change the model's "classes" with --set`,
      );
}

/** A list is stored as lines, since a run's settings are strings and numbers. */
const lines = (setting: StageSetting = ""): string[] => (setting === "" ? [] : String(setting).split("\n"));

/** The context for the feeds of a batch; its random numbers depend on the seed and the data cursor. */
function contextOf(text: TextCodec | undefined, seed: number, next: Json, count: (what: string) => void): FeedContext {
  return {
    get text() {
      if (text) return text;
      throw new UsageError(
        "this stage tokenizes texts: its data must declare the model's vocabulary size as `vocabulary`",
      );
    },
    random: seededRandom(seed, crc32(JSON.stringify(next))),
    count,
    written: (template, turns, image) => writtenConversation(template, text!, turns, image),
  };
}
