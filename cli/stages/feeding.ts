/** The batches of a stage: samples of the user's data, converted to the step's inputs. */
import { crc32 } from "node:zlib";
import { type HostTensor, hostTensor, type SizedAxis, UsageError } from "../../compiler/index.ts";
import {
  type DataCursor,
  filesAre,
  type Listing,
  listingOf,
  type OnChange,
  type OpenSource,
  type SharedReading,
  seededRandom,
} from "../../data/index.ts";
import type { FeedContext, Feeds, Recipe, SampleKind, SampleOf, StageData, TextCodec } from "../../dsl/index.ts";
import {
  alteredTurns,
  type Json,
  type Settings,
  type SharedRows,
  type TrainingBatch,
  type TrainingJob,
  writtenConversation,
} from "../../runtime/index.ts";
import { lines, type Opened, openStageData, openValidation, type ReadBatch } from "./open-data.ts";
import { beginningWithTargets, hasTarget } from "./targets.ts";

/** Held-out samples, and the feeds made of them. */
export interface ValidationBatch {
  readonly samples: readonly object[];
  readonly feeds: Feeds;
}

export interface StageFeeding extends Pick<TrainingJob, "batches"> {
  readonly listing: string;
  /** Class names by label, if the data names them. */
  readonly classes?: readonly string[];
  /** Messages, one for each source of samples. */
  readonly report: readonly string[];
  /** Counts of skipped and changed samples from the run's start up to a cursor. */
  readonly told: (cursor: Json) => Readonly<Record<string, Json>>;
  /** The validation data: every sample once, its image whole, the same each time. */
  readonly validation?: (note: (text: string) => void) => AsyncIterable<ValidationBatch>;
  readonly dispose: () => Promise<void>;
}

/**
 * Opens the data of a stage, whose step has these `inputs`. Throws UsageError if it has more classes than the model.
 */
export async function feedStage(
  { data, steps, batch: rowsOfStep }: Pick<Recipe, "data" | "steps" | "batch">,
  settings: Settings,
  batch: number,
  text: TextCodec | undefined,
  inputs: FeedContext["inputs"],
  onChange: OnChange = "refuse",
): Promise<StageFeeding> {
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
  const feeding = new Feeding({ data: data!, settings, batch, parts, text, inputs, onChange, opened, judged });
  const samples = steps * rowsOfStep;
  return {
    batches: (cursor, note, shared) => feeding.batches(cursor, note, shared),
    listing: listingOf(await opened.files()).digest,
    ...(opened.classes && { classes: opened.classes }),
    report: [
      ...opened.report,
      data!.kind === "texts" ? tokensText(samples, data!.length! - 1) : epochsText(opened.sources, samples),
      ...(judged?.report ?? []).map((line) => `validation: ${line}`),
    ],
    told: toldOf,
    ...(judged && { validation: (note) => feeding.validation(judged, note) }),
    dispose: async () => {
      await Promise.all([opened.dispose(), judged?.dispose()]);
    },
  };
}

/** The opened data of a stage, and how its samples become feeds. */
interface Fed {
  readonly data: StageData;
  readonly settings: Settings;
  /** Rows of a micro-batch. */
  readonly batch: number;
  /** Micro-batches that an opened batch holds: a step's, or one. */
  readonly parts: number;
  readonly text: TextCodec | undefined;
  readonly inputs: FeedContext["inputs"];
  readonly onChange: OnChange;
  readonly opened: Opened;
  readonly judged: Opened | undefined;
}

type Counts = ReturnType<typeof changeCounts>;
type Made = Pick<TrainingBatch, "feeds" | "names">;

class Feeding {
  readonly #fed: Fed;
  readonly #seed: number;
  readonly #noted = new Set<string>(); // of validation, whose samples are the same each time

  constructor(fed: Fed) {
    this.#fed = fed;
    this.#seed = Number(fed.settings.seed);
  }

  async *batches(cursor: Json | undefined, note: (text: string) => void, shared?: SharedRows) {
    const { data, batch } = this.#fed;
    const begun = (cursor ?? {}) as Partial<StageCursor>;
    const counts = changeCounts(begun.changed, note);
    const made = this.#madeBatches(cursor, note, counts, shared);
    if (cursor) yield* made;
    else yield* beginningWithTargets(made, { targets: data.targets, rows: batch, counts: counts.soFar });
  }

  async *validation(judged: Opened, note: (text: string) => void): AsyncGenerator<ValidationBatch> {
    const { text, inputs, data } = this.#fed;
    let number = 0;
    for await (const { pixels, samples } of judged.once(note)) {
      const context = contextOf({ text, inputs }, this.#seed, ["validation", number++], (what) => {
        if (!this.#noted.has(what)) note(`validation: ${what}`);
        this.#noted.add(what);
      });
      const shown = pixels && { pixels: wholeRows(pixels, data.perRow) };
      yield { samples, feeds: { ...shown, ...this.#feedsOf(rows(samples), context) } };
    }
  }

  async *#madeBatches(
    cursor: Json | undefined,
    note: (text: string) => void,
    counts: Counts,
    shared: SharedRows | undefined,
  ): AsyncGenerator<TrainingBatch> {
    const { opened, judged, parts, onChange } = this.#fed;
    const begun = (cursor ?? {}) as Partial<StageCursor>;
    const judgedOn = judged && (await comparedFiles(judged, begun.validation, onChange, note));
    let before = cursor ?? null; // steps end with their last part: no run resumes from another
    for await (const batch of opened.batches(cursor, note, shared && this.#sharing(shared))) {
      const made = Array.from({ length: parts }, (_, part) => this.#madePart(batch, part, counts));
      const changed = { changed: counts.soFar(), ...(judgedOn && { validation: judgedOn }) };
      const next = { ...batch.cursor, ...changed } as unknown as Json;
      for (const [part, one] of made.entries()) yield { ...one, next: part + 1 < parts ? before : next };
      before = next;
    }
  }

  /** A micro-batch: some of the samples that were read together. */
  #madePart({ pixels, samples, cursor }: ReadBatch, part: number, counts: Counts): Made {
    const { data, parts, batch, text, inputs } = this.#fed;
    const { listing: _, skipped: __, ...place } = cursor;
    const key = (parts === 1 ? place : [place, part]) as unknown as Json;
    const [from, to] = [part * batch, (part + 1) * batch];
    const own = rows(samples).slice(from, to);
    const each = data.image?.tiles?.room ?? 1;
    const shown = pixels && { pixels: rowsOf(pixels, from * each, to * each) };
    const feeds = { ...shown, ...this.#feedsOf(own, contextOf({ text, inputs }, this.#seed, key, counts.add)) };
    if (!hasTarget(feeds, data.targets)) counts.add(`batches of ${batch} samples without a target train nothing`);
    const isPacked = (data.perRow ?? 1) > 1; // input rows then hold several samples
    return { feeds, ...(isPacked || data.kind === "texts" ? {} : { names: own.map(nameOf) }) };
  }

  #feedsOf(samples: readonly SampleOf<SampleKind>[], context: FeedContext): Feeds {
    const { data } = this.#fed;
    requireClasses(data, samples);
    return data.feeds(samples, context);
  }

  /** The owners of rows; an opened batch is a step, or one of its micro-batches. */
  #sharing(shared: SharedRows): SharedReading {
    const { parts, batch, data, settings } = this.#fed;
    const accumulate = Number(settings.accumulate);
    const rowOfStep = (number: number, row: number) => (parts > 1 ? row : (number % accumulate) * batch + row);
    return {
      among: shared,
      ownerOf: (number, row) => shared.rankOf(Math.floor(rowOfStep(number, row) / (data.perRow ?? 1))),
    };
  }
}

const rows = (samples: unknown) => samples as readonly SampleOf<SampleKind>[];

function toldOf(cursor: Json): Readonly<Record<string, Json>> {
  const { specs = [], places = [], skipped, changed } = (cursor ?? {}) as Partial<StageCursor>;
  const reasons = Object.entries(skipped?.reasons ?? {}).map(([reason, counted]) => [reason, { ...counted }]);
  const epochs = Object.fromEntries(specs.map((spec, i) => [spec, 1 + (places[i]?.epoch ?? 0)]));
  return { skipped: Object.fromEntries(reasons), changed: { ...changed }, epochs };
}

const nameOf = (sample: object): string => {
  const { image, id, fields } = sample as { readonly image?: string; readonly id?: string; readonly fields?: object };
  return fields === undefined ? (image ?? `conversation ${id}`) : id!;
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

/** Throws UsageError for a label beyond the model's classes: labels in shards are only known when read. */
function requireClasses({ kind, classes = Infinity }: StageData, samples: readonly object[]): void {
  if (kind !== "labels") return;
  for (const { label, image } of samples as readonly { readonly label: number; readonly image?: string }[])
    if (label >= classes)
      throw new UsageError(
        `${image} has class ${label}, but the model has ${classes} classes, numbered from 0: change the model's "classes" with --set`,
      );
}

/** The context for the feeds of a batch; its random numbers depend on the seed and the data cursor. */
function contextOf(
  { text, inputs }: Pick<Fed, "text" | "inputs">,
  seed: number,
  next: Json,
  count: (what: string) => void,
): FeedContext {
  return {
    inputs,
    get text() {
      if (text) return text;
      throw new UsageError(
        "this stage tokenizes texts: its data must declare the model's vocabulary size as `vocabulary`",
      );
    },
    random: seededRandom(seed, crc32(JSON.stringify(next))),
    count,
    written: (template, turns, image) => {
      for (const what of alteredTurns(turns)) count(what);
      return writtenConversation(template, text!, turns, image);
    },
  };
}
