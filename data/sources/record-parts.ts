/** Records: JSON objects whose fields a stage turns into its inputs, with an image or without. */
import { readFile } from "node:fs/promises";
import { join, parse } from "node:path";
import { FileError, shown } from "../../compiler/index.ts";
import { readFrom } from "../extents.ts";
import { insideFolder, listFolder, orSystemFault, requirePath } from "../files.ts";
import { decodeUtf8 } from "../folders.ts";
import type { ImageSource } from "../images.ts";
import { parseRecord } from "../instructions.ts";
import { isNpy, parseNpy, readNpy } from "../npy.ts";
import type { RawSample } from "../samples.ts";
import { pictureAt, pictureExtensionOf, type ShardSample } from "../shard-samples.ts";
import { isPicture } from "./folder-parts.ts";
import { type Reading as ListReading, pictureOf } from "./list-parts.ts";
import type { Reading as ShardReading } from "./shard-parts.ts";
import type { Part, ReadOptions } from "./source.ts";

type Fields = Readonly<Record<string, unknown>>;

const recordSample = (name: string, values: Fields, image?: ImageSource): RawSample => ({
  ...{ name, group: name, values, fields: values },
  ...(image !== undefined && { image }),
});

/** The fields, with arrays in place of the .npy files of the folder that they name. */
async function withArrays(fields: Fields, folder: string): Promise<Fields> {
  const read = async ([name, value]: readonly [string, unknown]) => {
    if (typeof value !== "string" || !isNpy(value)) return [name, value] as const;
    const path = insideFolder(folder, value);
    if (path === undefined) throw new FileError(`its "${name}" ${shown(value)} is not a path inside the folder`);
    return [name, await readNpy(path)] as const;
  };
  return Object.fromEntries(await Promise.all(Object.entries(fields).map(read)));
}

/** A record of a list; `image` is the path of its image, where a stage reads images. */
export const recordOfList: ListReading = async (
  entry,
  { name, images, pictured = typeof entry.image === "string" },
) => {
  const image = pictured ? pictureOf(entry.image, images) : undefined;
  return recordSample(name, await withArrays(entry, images), image);
};

/** A shard's .json, arrays such as .depth.npy, which is the field "depth", and the image beside them. */
export const recordOfShard: ShardReading = async (sample, name, { pictured }) => {
  if (sample.faults.length > 0) throw new FileError(sample.faults.join("; "));
  const json = sample.files.get(".json");
  if (!json && sample.arrays.size === 0) throw new FileError("it has no .json");
  const extension = pictureExtensionOf(sample);
  requireImage(pictured, extension);
  const image = extension !== undefined && pictured !== false ? pictureAt(sample, extension, name) : undefined;
  const fields = json ? parseRecord(decodeUtf8(json, ".json")) : {};
  return recordSample(name, { ...fields, ...(await arraysOf(sample, name)) }, image);
};

async function arraysOf({ arrays }: ShardSample, name: string): Promise<Fields> {
  const read = async ([field, { file, ...extent }]: readonly [string, ArrayPlace]) => {
    const bytes = await orSystemFault(readFrom(file, extent), `shard "${file}"`);
    return [field, parseNpy(bytes, `${name}.${field}.npy`)] as const;
  };
  return Object.fromEntries(await Promise.all([...arrays].map(read)));
}

type ArrayPlace = NonNullable<ReturnType<ShardSample["arrays"]["get"]>>;

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

/** street.json beside street.jpg: a record for each JSON file, which may name arrays of the folder. */
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
      return recordSample(path, await withArrays(parseRecord(decodeUtf8(bytes, path)), folder), image);
    },
  };
}
