/** WebDataset shards: tar files in which the entries of one sample share a key and follow each other. */
import { createReadStream } from "node:fs";
import { posix } from "node:path";
import { extract } from "tar-stream";
import { type OnSkip, orSkip, reasonOf, staysInside } from "./files.ts";
import type { Item } from "./items.ts";
import { type ShardSample, sampleItem } from "./shard-samples.ts";

export type TarEntry = ReturnType<typeof extract> extends AsyncIterable<infer Entry> ? Entry : never;

export const defaultSampleBytes = 64 * 2 ** 20;

export interface ShardOptions {
  readonly onSkip: OnSkip;
  readonly language?: string;
  /** A sample of more bytes than this is skipped, so memory stays bounded whatever a header claims; default 64 MiB. */
  readonly maxSampleBytes?: number;
}

/** Reads one shard in file order. */
export async function* readShard(shard: string, options: ShardOptions): AsyncGenerator<Item, void, undefined> {
  for await (const sample of samplesOf(shard, options)) {
    const name = `${shard}/${sample.key}`;
    const item = await orSkip(sampleItem(sample, name, options.language ?? "und"), name, options.onSkip);
    if (item) yield item;
  }
}

async function* samplesOf(shard: string, options: ShardOptions): AsyncGenerator<ShardSample, void, undefined> {
  let sample: ShardSample | undefined;
  let entries = 0;
  try {
    for await (const entry of entriesOf(shard)) {
      entries += 1;
      const place = placeOf(entry, shard, options.onSkip);
      if (!place) {
        await drain(entry);
        continue;
      }
      if (sample && sample.key !== place.key) yield sample;
      if (sample?.key !== place.key) sample = { key: place.key, files: new Map(), faults: [] };
      await addEntry(sample!, place.extension, entry, options.maxSampleBytes ?? defaultSampleBytes);
    }
  } catch (error) {
    // The sample under way may be incomplete: it goes with the rest of the shard.
    options.onSkip({ name: shard, reason: `the shard is broken, what follows in it is lost: ${reasonOf(error)}` });
    return;
  }
  if (sample) yield sample;
  if (entries === 0) options.onSkip({ name: shard, reason: "the shard is empty" });
}

/** The entries of a tar file; a reading error reaches the loop as an exception. */
export async function* entriesOf(shard: string): AsyncGenerator<TarEntry, void, undefined> {
  const file = createReadStream(shard);
  const tar = extract();
  file.on("error", (error) => tar.destroy(error));
  file.pipe(tar as unknown as NodeJS.WritableStream);
  try {
    yield* tar;
  } finally {
    file.destroy();
    tar.destroy();
  }
}

export interface Place {
  readonly key: string;
  readonly extension: string;
}

/** WebDataset's naming: the key is the path up to the first dot of the file name. Only files count; bad names are refused. */
export function placeOf({ header: { name, type } }: TarEntry, shard: string, onSkip: OnSkip): Place | undefined {
  if (type === "directory" && staysInside(name)) return undefined;
  if (type !== "file" && type !== "contiguous-file") {
    onSkip({
      name: `${shard}/${name}`,
      reason: `it is a ${type ?? "entry of unknown type"}, only plain files are read`,
    });
    return undefined;
  }
  if (!staysInside(name)) {
    onSkip({ name: `${shard}/${name}`, reason: "its name leaves the shard's folder" });
    return undefined;
  }
  const { dir, base } = posix.parse(name);
  const dot = base.indexOf(".", 1); // a leading dot belongs to the name
  if (dot < 0 || base.startsWith("._")) return undefined; // no extension, or what macOS tar adds
  return { key: posix.join(dir, base.slice(0, dot)), extension: base.slice(dot).toLowerCase() };
}

async function addEntry(sample: ShardSample, extension: string, entry: TarEntry, limit: number): Promise<void> {
  const held = sample.files.values().reduce((sum, file) => sum + file.length, 0);
  if (sample.files.has(extension)) sample.faults.push(`it has two ${extension} entries`);
  else if (held + entry.header.size > limit) sample.faults.push(`it is larger than ${limit} bytes`);
  else {
    sample.files.set(extension, await collect(entry));
    return;
  }
  await drain(entry);
}

async function collect(entry: TarEntry): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of entry) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

export async function drain(entry: TarEntry): Promise<void> {
  for await (const _ of entry);
}
