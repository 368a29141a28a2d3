/** Records: JSON objects whose fields a stage turns into its inputs, with an image or without. */
import { readFile } from "node:fs/promises";
import { join, parse } from "node:path";
import { FileError } from "../../compiler/index.ts";
import { listFolder, orSystemFault, requirePath } from "../files.ts";
import { decodeUtf8 } from "../folders.ts";
import type { ImageSource } from "../images.ts";
import { parseRecord } from "../instructions.ts";
import type { RawSample } from "../samples.ts";
import { pictureAt, pictureExtensionOf } from "../shard-samples.ts";
import { isPicture } from "./folder-parts.ts";
import { type Reading as ListReading, pictureOf } from "./list-parts.ts";
import type { Reading as ShardReading } from "./shard-parts.ts";
import type { Part, ReadOptions } from "./source.ts";

type Fields = Readonly<Record<string, unknown>>;

const recordSample = (name: string, values: Fields, image?: ImageSource): RawSample => ({
  ...{ name, group: name, values, fields: values },
  ...(image !== undefined && { image }),
});

/** A record of a list; `image` is the path of its image, where a stage reads images. */
export const recordOfList: ListReading = (entry, { name, images, pictured = typeof entry.image === "string" }) =>
  recordSample(name, entry, pictured ? pictureOf(entry.image, images) : undefined);

/** A shard's .json, and the image beside it. */
export const recordOfShard: ShardReading = async (sample, name, { pictured }) => {
  if (sample.faults.length > 0) throw new FileError(sample.faults.join("; "));
  const json = sample.files.get(".json");
  if (!json) throw new FileError("it has no .json");
  const extension = pictureExtensionOf(sample);
  requireImage(pictured, extension);
  const image = extension !== undefined && pictured !== false ? pictureAt(sample, extension, name) : undefined;
  return recordSample(name, parseRecord(decodeUtf8(json, ".json")), image);
};

function requireImage(pictured: boolean | undefined, image: string | undefined): void {
  if (pictured && image === undefined) throw new FileError("it has no image beside its .json");
}

const stemOf = (name: string) => parse(name).name.normalize("NFC");
const isJson = (name: string) => name.toLowerCase().endsWith(".json");

/** The files of a record in a folder: street.json, and street.jpg beside it. */
interface RecordFiles {
  readonly json?: string;
  readonly image?: string;
}

async function recordsIn(folder: string): Promise<readonly (readonly [string, RecordFiles])[]> {
  const names = (await listFolder(folder, "folder of records")).filter((name) => isJson(name) || isPicture(name));
  const found = new Map<string, RecordFiles>();
  for (const name of names) {
    const role = isJson(name) ? "json" : "image";
    const before = found.get(stemOf(name));
    if (before?.[role] !== undefined)
      throw new FileError(`${folder} has ${before[role]} and ${name} for one record: rename or remove one of them`);
    found.set(stemOf(name), { ...before, [role]: name });
  }
  return [...found];
}

/** The records of a folder, with their images. */
export const recordFiles = async (folder: string): Promise<readonly string[]> =>
  (await recordsIn(folder)).flatMap(([, { json, image }]) =>
    [json, image].flatMap((name) => (name === undefined ? [] : [join(folder, name)])),
  );

/** street.json beside street.jpg: a record for each JSON file. */
export async function openRecords(folder: string, { pictured }: ReadOptions): Promise<Part> {
  const records = await recordsIn(folder);
  const nameOf = ({ json, image }: RecordFiles) => join(folder, json ?? image!);
  return {
    count: records.length,
    name: (index) => nameOf(records[index]![1]),
    read: async (index) => {
      const [stem, files] = records[index]!;
      if (files.json === undefined) throw new FileError(`it has no record "${stem}.json"`);
      requireImage(pictured, files.image);
      const path = nameOf(files);
      await requirePath(path, "file", "record"); // a pipe or a device has no end
      const bytes = await orSystemFault(readFile(path), `record "${path}"`);
      const image = files.image !== undefined && pictured !== false ? join(folder, files.image) : undefined;
      return recordSample(path, parseRecord(decodeUtf8(bytes, path)), image);
    },
  };
}
