/** The content of a WebDataset sample: an image, and captions as text or in JSON. */
import { FileError } from "../compiler/index.ts";
import type { Extent } from "./extents.ts";
import { isInvisible, isRecord, reasonOf, requireWellFormed } from "./files.ts";
import { captionLines, decodeUtf8, imageExtensions } from "./folders.ts";
import type { StoredImage } from "./images.ts";
import type { Item } from "./items.ts";

/** The entries of one key by extension (".jpg"), and faults found so far. */
export interface ShardSample {
  readonly key: string;
  /** Entries read with the sample: its texts. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Locations of its images. */
  readonly pictures: ReadonlyMap<string, Omit<StoredImage, "name">>;
  /** Locations of its arrays, by field: "depth" for 000.depth.npy. */
  readonly arrays: ReadonlyMap<string, Extent & { readonly file: string }>;
  readonly faults: readonly string[];
}

/** An image of a sample. */
export const pictureAt = ({ pictures }: ShardSample, extension: string, name: string): StoredImage => ({
  name: `${name}${extension}`,
  ...pictures.get(extension)!,
});

/** The extension of the sample's image. */
export const pictureExtensionOf = ({ pictures }: ShardSample): string | undefined =>
  imageExtensions.find((candidate) => pictures.has(candidate));

/** FileError when there is none. */
export function pictureOf(sample: ShardSample, name: string): StoredImage {
  const extension = pictureExtensionOf(sample);
  if (!extension) throw new FileError(`it has no image (${imageExtensions.join(", ")})`);
  return pictureAt(sample, extension, name);
}

/** The sample as an item named `name`; FileError when it lacks an image or caption, or either is malformed. */
export async function sampleItem(sample: ShardSample, name: string, language: string): Promise<Item> {
  if (sample.faults.length > 0) throw new FileError(sample.faults.join("; "));
  const image = pictureOf(sample, name);
  return { group: sample.key, images: [image], texts: { [language]: captions(sample.files) } };
}

/**
 * The .txt if there is one, else `caption`, `captions` or `text` of the .json (as written by img2dataset and others).
 */
function captions(files: ReadonlyMap<string, Uint8Array>): readonly string[] {
  const text = files.get(".txt");
  if (text) return captionLines(text, ".txt");
  const json = files.get(".json");
  if (!json) throw new FileError("it has no caption (.txt or .json) next to it in the shard");
  const parsed = parseJson(json);
  const found = isRecord(parsed) ? (parsed.caption ?? parsed.captions ?? parsed.text) : undefined;
  const list = (Array.isArray(found) ? found : [found]).filter((entry) => typeof entry === "string");
  if (list.every(isInvisible)) throw new FileError('its .json has no "caption"');
  list.forEach(requireWellFormed);
  return list.map((entry) => entry.trim()).filter((entry) => !isInvisible(entry));
}

function parseJson(bytes: Uint8Array): unknown {
  const text = decodeUtf8(bytes, ".json");
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FileError(`its .json is not valid JSON: ${reasonOf(cause)}`, { cause });
  }
}
