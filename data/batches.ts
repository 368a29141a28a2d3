/** Batches for contrastive training: images and texts as tensors, prefetched. */
import { FileError, type HostTensor, type ImageSize } from "../compiler/index.ts";
import { mapLimited, prefetch } from "./concurrency.ts";
import { type OnSkip, orSkip } from "./files.ts";
import type { ImageStore } from "./image-store.ts";
import { defaultConcurrency } from "./images.ts";
import { drawPair, type Item, type Pair } from "./items.ts";
import { type BatchRows, type Cursor, streams } from "./order.ts";
import type { Pixels } from "./pixels.ts";
import { seededRandom } from "./random.ts";
import { type Tokenizer, tokenBatch } from "./text.ts";
import { type Augmentation, imageTensor, type Normalization, randomView, type View } from "./view.ts";

/**
 * One step's input. `images` f32 [batch, channel, row, column], normalized; `ids` i32 [batch, token]; `eos` i32
 * [batch].
 * Row i of each belongs together, and no two rows are of the same group.
 */
export interface ContrastiveBatch {
  readonly images: HostTensor;
  readonly ids: HostTensor;
  readonly eos: HostTensor;
  readonly pairs: readonly Pair[];
  readonly at: Cursor;
  /** Save this with the checkpoint taken after the step: training resumes there. */
  readonly next: Cursor;
}

export interface BatchOptions {
  readonly images: ImageStore;
  /** Size of the model's input; default the store's (any other resamples). */
  readonly size?: ImageSize;
  readonly augmentation?: Augmentation;
  readonly normalization?: Normalization;
  readonly tokenizer: Tokenizer;
  /** Ids per text, padded. */
  readonly tokens: number;
  /** Probability of a text other than the main one, in [0, 1]; default 0. */
  readonly extraTexts?: number;
  readonly onSkip: OnSkip;
  /** Batches prefetched; default 2. */
  readonly ahead?: number;
}

/**
 * Turns rows (`itemBatches`) into tensors, with prefetching.
 * A row's image, language, text and view depend only on (seed, epoch, batch, row), so a resumed run sees what an
 * uninterrupted one would. A row with a broken image is reported to `onSkip` and replaced by another item.
 */
export function contrastiveBatches(rows: AsyncIterable<BatchRows>, options: BatchOptions) {
  return prefetch(assembled(rows, options), options.ahead ?? 2);
}

async function* assembled(source: AsyncIterable<BatchRows>, options: BatchOptions) {
  for await (const rows of source) yield await assemble(rows, options);
}

async function assemble({ rows, spares, at, next }: BatchRows, options: BatchOptions): Promise<ContrastiveBatch> {
  const first = await mapLimited(rows, defaultConcurrency, (item, row) => readRow(item, at, row, options));
  const complete = await withSpares(first, rows, spares, at, options);
  const pairs = complete.map(({ pair }) => pair);
  const images = imageTensor(
    complete.map(({ pixels }) => pixels),
    {
      size: options.size ?? options.images.geometry.size,
      views: complete.map(({ view }) => view),
      ...normalized(options),
    },
  );
  const { ids, eos } = tokenBatch(
    options.tokenizer,
    pairs.map(({ text }) => text),
    options.tokens,
  );
  return { images, ids, eos, pairs, at, next };
}

const normalized = ({ normalization }: BatchOptions) => (normalization ? { normalization } : {});

interface Row {
  readonly pair: Pair;
  readonly pixels: Pixels;
  readonly view: View;
}

async function readRow(item: Item, { seed, epoch, position }: Cursor, row: number, options: BatchOptions) {
  const random = seededRandom(seed, streams.row, epoch, position, row);
  const pair = drawPair(item, random, options.extraTexts ?? 0);
  const pixels = await orSkip(options.images.read(pair.image), pair.imageName, options.onSkip);
  return pixels && { pair, pixels, view: randomView(pixels, options.augmentation ?? {}, random) };
}

/** This many broken images in a row are not an accident of the data: the folder or disk is at fault. */
const maxAttempts = 200;

/**
 * Fills the gaps in row order, one attempt at a time, so that the outcome does not depend on which file was read first.
 */
async function withSpares(
  found: readonly (Row | undefined)[],
  rows: readonly Item[],
  spares: Iterable<Item>,
  at: Cursor,
  options: BatchOptions,
): Promise<readonly Row[]> {
  const complete = [...found];
  const taken = new Set(rows.map((item) => item.group));
  const candidates = spares[Symbol.iterator]();
  let attempts = 0;
  for (let gap = complete.indexOf(undefined); gap >= 0; gap = complete.indexOf(undefined)) {
    const spare = candidates.next();
    if (spare.done || attempts === maxAttempts) throw cannotFill(complete, at);
    if (taken.has(spare.value.group)) continue;
    attempts += 1;
    complete[gap] = await readRow(spare.value, at, gap, options);
    if (complete[gap]) taken.add(spare.value.group);
  }
  return complete as readonly Row[];
}

function cannotFill(rows: readonly (Row | undefined)[], { epoch, position }: Cursor): FileError {
  const broken = rows.filter((row) => row === undefined).length;
  const what = `${broken} of ${rows.length} images cannot be read and no replacement was found`;
  return new FileError(`batch ${position} of epoch ${epoch} cannot be filled: ${what}`);
}
