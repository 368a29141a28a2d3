/** The file that `retrieve index` writes: unit vectors of images and of texts, with their names. */
import { FileError, UsageError } from "../../../compiler/index.ts";
import type { Embeddings } from "../../../data/index.ts";
import {
  openSafetensors,
  type SafetensorsReader,
  type TensorToWrite,
  writeSafetensors,
} from "../../../runtime/index.ts";

export interface Indexed {
  readonly names: readonly string[];
  readonly vectors: Embeddings;
}

export interface RetrievalIndex {
  /** The model that made it; vectors of another model are not comparable. */
  readonly model: string;
  readonly images: Indexed;
  readonly texts: Indexed;
}

const kinds = ["images", "texts"] as const;
export type Kind = (typeof kinds)[number];

/** Writes an index: `images` and `texts` [row, width], if any, with the names in the metadata. */
export async function writeIndex(path: string, index: RetrievalIndex): Promise<void> {
  const filled = kinds.filter((kind) => index[kind].names.length > 0);
  const tensors = filled.map((kind): TensorToWrite => {
    const { names, vectors } = index[kind];
    return { name: kind, dtype: "F32", shape: [names.length, vectors.width], data: () => [vectors.data] };
  });
  const names = Object.fromEntries(filled.map((kind) => [kind, JSON.stringify(index[kind].names)]));
  await writeSafetensors(path, tensors, { metadata: { "heddle.index": index.model, ...names } });
}

/** Reads an index. Throws FileError if the file is not one. */
export async function readIndex(path: string): Promise<RetrievalIndex> {
  const reader = await openSafetensors(path);
  try {
    const model = reader.metadata.get("heddle.index");
    if (model === undefined) throw notAnIndex(path, "its metadata has no heddle.index");
    return { model, images: await readKind(reader, "images"), texts: await readKind(reader, "texts") };
  } finally {
    await reader.dispose();
  }
}

async function readKind(reader: SafetensorsReader, kind: Kind): Promise<Indexed> {
  const found = reader.tensors.get(kind);
  if (!found) return { names: [], vectors: { data: new Float32Array(), width: 0 } };
  const names = parseNames(reader.path, kind, reader.metadata.get(kind));
  const [rows, width] = found.shape;
  if (found.shape.length !== 2 || rows !== names.length)
    throw notAnIndex(reader.path, `"${kind}" is [${found.shape.join(", ")}] for ${names.length} names`);
  const { data } = await reader.readTensor(kind, { dtype: "f32" });
  return { names, vectors: { data: data as Float32Array, width: width! } };
}

function parseNames(path: string, kind: Kind, text: string | undefined): readonly string[] {
  const names = text === undefined ? undefined : parsed(text);
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) return names;
  throw notAnIndex(path, `the names of its ${kind} are missing`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const notAnIndex = (path: string, why: string): FileError =>
  new FileError(`"${path}" is not an index that heddle wrote: ${why}. Make one with: retrieve index FOLDER --out FILE`);

/** The vectors to search. Throws UsageError if the index has none of the kind, or is of another model. */
export function searched(path: string, index: RetrievalIndex, kind: Kind, model: string): Indexed {
  if (index.model !== model)
    throw new UsageError(`"${path}" was built with "${index.model}" and cannot be searched with "${model}"`);
  if (index[kind].names.length > 0) return index[kind];
  const how =
    kind === "texts" ? "put captions next to the images (cat.txt next to cat.jpg) and build the index again" : "";
  throw new UsageError(`"${path}" has no ${kind} to find${how === "" ? "" : `: ${how}`}`);
}
