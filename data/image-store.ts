/** Caches decoded images in memory, so that later epochs need not decode them again. */
import { mapLimited } from "./concurrency.ts";
import { type OnSkip, orSkip } from "./files.ts";
import { decodeImage, defaultConcurrency, type Geometry, type ImageSource, imageName } from "./images.ts";
import type { Pixels } from "./pixels.ts";

/** Reads images at a fixed geometry, cached. */
export interface ImageStore {
  readonly geometry: Geometry;
  /** Bytes of cached pixels. */
  readonly bytes: number;
  /** The decoded image; FileError naming it when it cannot be read. */
  readonly read: (source: ImageSource) => Promise<Pixels>;
  /** Decodes all of them now; returns the names of the readable ones and reports the others to `onSkip`. */
  readonly preload: (
    sources: readonly ImageSource[],
    options: { readonly onSkip: OnSkip; readonly onProgress?: (done: number) => void },
  ) => Promise<ReadonlySet<string>>;
}

/**
 * A cache of at most `maxBytes` (default 256 MiB) of pixels. When it is full, nothing is evicted: since every epoch
 * visits every image once, an LRU cache would always have just evicted the next one.
 * Only files are cached; bytes from a shard are not.
 */
export function imageStore(geometry: Geometry, maxBytes = 256 * 2 ** 20): ImageStore {
  const held = new Map<string, Pixels>();
  let bytes = 0;
  const keep = (source: ImageSource, pixels: Pixels) => {
    if (typeof source !== "string" || held.has(source) || bytes + pixels.data.byteLength > maxBytes) return;
    held.set(source, pixels);
    bytes += pixels.data.byteLength;
  };
  const read = async (source: ImageSource) => {
    const found = typeof source === "string" ? held.get(source) : undefined;
    if (found) return found;
    const pixels = await decodeImage(source, geometry);
    keep(source, pixels);
    return pixels;
  };
  return {
    geometry,
    get bytes() {
      return bytes;
    },
    read,
    async preload(sources, options) {
      const readable = new Set<string>();
      let done = 0;
      await mapLimited(sources, defaultConcurrency, async (source) => {
        if (await orSkip(read(source), imageName(source), options.onSkip)) readable.add(imageName(source));
        options.onProgress?.(++done);
      });
      return readable;
    },
  };
}
