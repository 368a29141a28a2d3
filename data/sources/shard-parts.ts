/** Shards as parts: the place of every sample, and its bytes read when it is wanted. */
import { type FileHandle, open } from "node:fs/promises";
import { FileError } from "../../compiler/index.ts";
import { type OnSkip, reasonOf, requirePath } from "../files.ts";
import { decodeUtf8, imageExtensions } from "../folders.ts";
import { instructionOf, parseRecord } from "../instructions.ts";
import type { RawSample } from "../samples.ts";
import { type ShardSample, sampleItem } from "../shard-samples.ts";
import { drain, entriesOf, placeOf } from "../shards.ts";
import type { Part } from "./source.ts";

/** A sample of more bytes is skipped, so memory stays bounded whatever a header claims. */
const mostSampleBytes = 64 * 2 ** 20;

interface Extent {
  readonly offset: number;
  readonly size: number;
}

/** Where the entries of one key lie in their shard, by extension, and what is wrong with them. */
interface IndexedSample {
  readonly key: string;
  readonly files: Map<string, Extent>;
  readonly faults: string[];
}

/** What becomes of the bytes of a sample. */
type Reading = (sample: ShardSample, name: string, language: string) => Promise<RawSample>;

/** Shards of pictures with captions; a json beside them holds further fields. */
export const pairOfShard: Reading = async (sample, name, language) => {
  const said = sample.files.get(".json");
  const fields = said === undefined || !sample.files.has(".txt") ? fieldsOf(said) : fieldsOrNone(said);
  const spoken = typeof fields.language === "string" && fields.language !== "" ? fields.language : language;
  const { images, texts } = await sampleItem(sample, name, spoken);
  return { name, group: name, image: images[0]!, texts, fields };
};

/** Shards whose json holds a conversation, about the picture beside it where there is one. */
export const conversationOfShard: Reading = async (sample, name) => {
  if (sample.faults.length > 0) throw new FileError(sample.faults.join("; "));
  const fields = fieldsOf(sample.files.get(".json"));
  const extension = imageExtensions.find((candidate) => sample.files.has(candidate));
  const { turns } = instructionOf({ conversations: fields.conversations }, 0, "");
  const image = extension && { name: `${name}${extension}`, bytes: sample.files.get(extension)! };
  return { name, group: name, id: sample.key, turns, fields, ...(image ? { image } : {}) };
};

/** Shards of pictures with the number of their class: the text of .cls, or `cls`, `label` or `class` of the .json. */
export const labelOfShard: Reading = async (sample, name) => {
  const image = pictureOf(sample, name);
  const text = sample.files.get(".cls");
  const fields = fieldsOf(sample.files.get(".json"));
  const said = text ? Number(decodeUtf8(text, ".cls").trim() || "none") : (fields.cls ?? fields.label ?? fields.class);
  if (!(Number.isSafeInteger(said) && (said as number) >= 0))
    throw new FileError('it has no class: a whole number from 0 in .cls, or as "cls" of its .json');
  return { name, group: name, image, label: said as number, fields };
};

const maskExtensions = [".mask.png", ".seg.png"];

/** Shards of pictures with the class numbers of their pixels. */
export const maskOfShard: Reading = async (sample, name) => {
  const image = pictureOf(sample, name);
  const extension = maskExtensions.find((candidate) => sample.files.has(candidate));
  if (!extension) throw new FileError(`it has no annotation (${maskExtensions.join(", ")})`);
  const mask = { name: `${name}${extension}`, bytes: sample.files.get(extension)! };
  return { name, group: name, image, mask, fields: fieldsOf(sample.files.get(".json")) };
};

function pictureOf(sample: ShardSample, name: string): ImageFile {
  if (sample.faults.length > 0) throw new FileError(sample.faults.join("; "));
  const extension = imageExtensions.find((candidate) => sample.files.has(candidate));
  if (!extension) throw new FileError(`it has no picture (${imageExtensions.join(", ")})`);
  return { name: `${name}${extension}`, bytes: sample.files.get(extension)! };
}

interface ImageFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * Opens a shard: reads it once from front to back to find where its samples lie. A sample is broken alone; what follows a
 * fault of the shard is lost and told to `onSkip`.
 */
export async function openShard(path: string, reading: Reading, language: string, onSkip: OnSkip): Promise<Part> {
  await requirePath(path, "file", "shard");
  const samples = await indexShard(path, onSkip);
  const name = (index: number) => `${path}/${samples[index]!.key}`;
  return {
    count: samples.length,
    name,
    read: async (index) => await reading(await readSample(path, samples[index]!), name(index), language),
  };
}

async function indexShard(path: string, onSkip: OnSkip): Promise<readonly IndexedSample[]> {
  const samples: IndexedSample[] = [];
  let entries = 0;
  try {
    for await (const entry of entriesOf(path)) {
      entries += 1;
      const place = placeOf(entry, path, onSkip);
      // The package's types leave out what it has told of every entry since version 3.1.
      const { byteOffset: offset, size } = entry.header as unknown as { byteOffset: number; size: number };
      await drain(entry); // a shard that ends in mid-entry throws here
      if (!place) continue;
      if (samples.at(-1)?.key !== place.key) samples.push({ key: place.key, files: new Map(), faults: [] });
      addExtent(samples.at(-1)!, place.extension, { offset, size });
    }
  } catch (error) {
    samples.pop(); // the sample under way may be incomplete: it goes with the rest of the shard
    onSkip({ name: path, reason: `the shard is broken, what follows in it is lost: ${reasonOf(error)}` });
    return samples;
  }
  if (entries === 0) onSkip({ name: path, reason: "the shard is empty" });
  return samples;
}

function addExtent(sample: IndexedSample, extension: string, extent: Extent): void {
  const held = sample.files.values().reduce((sum, { size }) => sum + size, 0);
  if (sample.files.has(extension)) sample.faults.push(`it has two ${extension} entries`);
  else if (held + extent.size > mostSampleBytes) sample.faults.push(`it is larger than ${mostSampleBytes} bytes`);
  else sample.files.set(extension, extent);
}

async function readSample(path: string, sample: IndexedSample): Promise<ShardSample> {
  if (sample.faults.length > 0) return { ...sample, files: new Map() };
  const file = await open(path).catch((cause: unknown) => {
    throw new FileError(`shard "${path}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
  try {
    const files = new Map<string, Uint8Array>();
    for (const [extension, extent] of sample.files) files.set(extension, await readExtent(file, extent));
    return { ...sample, files };
  } finally {
    await file.close();
  }
}

/** Memory of its own, not a piece of Node's pool: it is handed to another thread. */
export async function readExtent(file: FileHandle, { offset, size }: Extent): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(bytes, at, size - at, offset + at);
    if (bytesRead === 0) throw new FileError("the file became shorter while it was read");
    at += bytesRead;
  }
  return bytes;
}

function fieldsOf(json: Uint8Array | undefined): Readonly<Record<string, unknown>> {
  return json ? parseRecord(decodeUtf8(json, ".json")) : {};
}

/** Where the caption is a text, a json that is broken costs its fields alone. */
function fieldsOrNone(json: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    return fieldsOf(json);
  } catch {
    return {};
  }
}
