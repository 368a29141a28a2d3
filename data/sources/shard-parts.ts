/** Shards as parts: samples are located first, and their bytes read on demand. */
import { open } from "node:fs/promises";
import { FileError } from "../../compiler/index.ts";
import { type Extent, readExtent } from "../extents.ts";
import { type OnSkip, reasonOf, requirePath } from "../files.ts";
import { decodeUtf8, imageExtensions } from "../folders.ts";
import type { StoredImage } from "../images.ts";
import { instructionOf, parseRecord, requirePlaces } from "../instructions.ts";
import { isNpy } from "../npy.ts";
import type { RawSample } from "../samples.ts";
import { pictureAt, pictureExtensionOf, pictureOf, type ShardSample, sampleItem } from "../shard-samples.ts";
import { entriesOf, placeOf } from "../shards.ts";
import type { Part, ReadOptions } from "./source.ts";

/** Larger samples are skipped, so that memory stays bounded whatever a header claims. */
const mostSampleBytes = 64 * 2 ** 20;

/** The byte ranges of one key's entries, by extension, and their faults. */
interface IndexedSample {
  readonly key: string;
  readonly files: Map<string, Extent>;
  readonly faults: string[];
}

/** Converts the content of a sample. */
export type Reading = (sample: ShardSample, name: string, options: ReadOptions) => Promise<RawSample>;

/** Shards of images with captions; an additional JSON may contain further fields. */
export const pairOfShard: Reading = async (sample, name, { language }) => {
  const said = sample.files.get(".json");
  const fields = said === undefined || !sample.files.has(".txt") ? fieldsOf(said) : fieldsOrNone(said);
  const spoken = typeof fields.language === "string" && fields.language !== "" ? fields.language : language;
  const { images, texts } = await sampleItem(sample, name, spoken);
  return { name, group: name, image: images[0]!, texts, fields };
};

/** Shards whose JSON contains a conversation, about the image beside it if there is one. */
export const conversationOfShard: Reading = async (sample, name) => {
  if (sample.faults.length > 0) throw new FileError(sample.faults.join("; "));
  const fields = fieldsOf(sample.files.get(".json"));
  const extension = pictureExtensionOf(sample);
  const { turns } = instructionOf({ conversations: fields.conversations }, 0, "");
  const image = extension && pictureAt(sample, extension, name);
  requirePlaces(turns, image !== undefined);
  return { name, group: name, id: sample.key, turns, fields, ...(image ? { image } : {}) };
};

/** Shards of images with class numbers: the text of .cls, or `cls`, `label` or `class` of the .json. */
export const labelOfShard: Reading = async (sample, name) => {
  const image = wholePicture(sample, name);
  const text = sample.files.get(".cls");
  const fields = fieldsOf(sample.files.get(".json"));
  const said = text ? Number(decodeUtf8(text, ".cls").trim() || "none") : (fields.cls ?? fields.label ?? fields.class);
  if (!(Number.isSafeInteger(said) && (said as number) >= 0))
    throw new FileError('it has no class: expected a non-negative integer in .cls, or as "cls" in its .json');
  return { name, group: name, image, label: said as number, fields };
};

const maskExtensions = [".mask.png", ".seg.png"];

/** Shards of images with segmentation masks. */
export const maskOfShard: Reading = async (sample, name) => {
  const image = wholePicture(sample, name);
  const extension = maskExtensions.find((candidate) => sample.pictures.has(candidate));
  if (!extension) throw new FileError(`it has no mask (${maskExtensions.join(", ")})`);
  const mask = pictureAt(sample, extension, name);
  return { name, group: name, image, mask, fields: fieldsOf(sample.files.get(".json")) };
};

/** FileError for a broken sample, or one without an image. */
function wholePicture(sample: ShardSample, name: string): StoredImage {
  if (sample.faults.length > 0) throw new FileError(sample.faults.join("; "));
  return pictureOf(sample, name);
}

/**
 * Opens a shard, reading its headers to locate the samples. A broken sample affects only itself; whatever follows a
 * fault of the shard is lost and reported to `onSkip`.
 */
export async function openShard(path: string, reading: Reading, options: ReadOptions, onSkip: OnSkip): Promise<Part> {
  await requirePath(path, "file", "shard");
  const samples = await indexShard(path, onSkip);
  const name = (index: number) => `${path}/${samples[index]!.key}`;
  return {
    count: samples.length,
    name,
    read: async (index) => await reading(await readSample(path, samples[index]!), name(index), options),
  };
}

async function indexShard(path: string, onSkip: OnSkip): Promise<readonly IndexedSample[]> {
  const samples: IndexedSample[] = [];
  let entries = 0;
  try {
    for await (const entry of entriesOf(path)) {
      entries += 1;
      const place = placeOf(entry, path, onSkip);
      if (!place) continue;
      if (samples.at(-1)?.key !== place.key) samples.push({ key: place.key, files: new Map(), faults: [] });
      addExtent(samples.at(-1)!, isNpy(place.extension) ? place.written : place.extension, entry);
    }
  } catch (error) {
    samples.pop(); // the current sample may be incomplete: it is dropped with the rest of the shard
    onSkip({ name: path, reason: `the shard is damaged, the rest of it is skipped: ${reasonOf(error)}` });
    return samples;
  }
  if (entries === 0) onSkip({ name: path, reason: "the shard is empty" });
  return samples;
}

function addExtent(sample: IndexedSample, extension: string, extent: Extent): void {
  const held = sample.files.values().reduce((sum, { size }) => sum + size, 0);
  if (sample.files.has(extension)) sample.faults.push(`it has two ${extension} entries`);
  else if (held + extent.size > mostSampleBytes) sample.faults.push(`it is larger than ${mostSampleBytes} bytes`);
  else sample.files.set(extension, { offset: extent.offset, size: extent.size });
}

/** Entries read with a sample, and those read when decoded, as arrays are; others are ignored. */
const textExtensions = [".txt", ".json", ".cls"];
const pictureExtensions = [...imageExtensions, ...maskExtensions];

async function readSample(path: string, { key, files: extents, faults }: IndexedSample): Promise<ShardSample> {
  const files = new Map<string, Uint8Array>();
  const pictures = new Map<string, Extent & { readonly file: string }>();
  const arrays: typeof pictures = new Map();
  const found = { key, files, pictures, arrays, faults };
  if (faults.length > 0) return found;
  const file = await open(path).catch((cause: unknown) => {
    throw new FileError(`shard "${path}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
  try {
    for (const [extension, extent] of extents) {
      if (textExtensions.includes(extension)) files.set(extension, await readExtent(file, extent));
      if (pictureExtensions.includes(extension)) pictures.set(extension, { file: path, ...extent });
      if (isNpy(extension)) arrays.set(extension.slice(1, -".npy".length), { file: path, ...extent });
    }
    return found;
  } finally {
    await file.close();
  }
}

function fieldsOf(json: Uint8Array | undefined): Readonly<Record<string, unknown>> {
  return json ? parseRecord(decodeUtf8(json, ".json")) : {};
}

/** When the caption is a .txt, a malformed JSON loses only its fields. */
function fieldsOrNone(json: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    return fieldsOf(json);
  } catch {
    return {};
  }
}
