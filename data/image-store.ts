/** Keeps decoded pictures in memory, so that later epochs do not decode them again. */
import { mapLimited } from "./concurrency.ts";
import { type OnSkip, orSkip } from "./files.ts";
import { decodeImage, defaultConcurrency, type Geometry, type ImageSource, imageName } from "./images.ts";
import type { Pixels } from "./pixels.ts";

/** Reads pictures at one geometry, from memory where they were read before. */
export interface ImageStore {
  readonly geometry: Geometry;
  /** Bytes of pixels held. */
  readonly bytes: number;
  /** The decoded picture; FileError naming it when it cannot be read. */
  readonly read: (source: ImageSource) => Promise<Pixels>;
  /** Decodes all of them now; answers with the names that can be read, the others go to `onSkip`. */
  readonly preload: (
    sources: readonly ImageSource[],
    options: { readonly onSkip: OnSkip; readonly onProgress?: (done: number) => void },
  ) => Promise<ReadonlySet<string>>;
}

/**
 * A store of at most `maxBytes` (default 256 MiB) of pixels. When it is full, nothing is thrown out: every epoch
 * visits every picture once, so a least-recently-used cache would always have just dropped the next one.
 * Only files are kept; bytes out of a shard pass through.
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
