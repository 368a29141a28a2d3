/** The common interface of shards, folders and lists. */
import type { OnSkip } from "../files.ts";
import type { ListedFile } from "../listing.ts";
import type { RawSample } from "../samples.ts";

/** An opened shard, folder or list, with random access to its samples. */
export interface Part {
  readonly count: number;
  /** A sample's name in messages. */
  readonly name: (index: number) => string;
  /** FileError with the reason when the sample is broken. */
  readonly read: (index: number) => Promise<RawSample>;
}

/** The samples of one spec, in parts that are opened one at a time. */
export interface Source {
  readonly spec: string;
  readonly weight: number;
  readonly parts: readonly string[];
  /** The kind of part, in the singular: shard, folder, list. */
  readonly partName: string;
  /** Whether opening a part only lists a folder, without reading files. */
  readonly isListed: boolean;
  /** The sorted classes of its samples. */
  readonly classes?: readonly string[];
  /** The files of its samples, in the order of parts, excluding the images that a list refers to. */
  readonly files: () => Promise<readonly ListedFile[]>;
  /** Faults that leave a part usable are reported to `onSkip`. */
  readonly open: (part: number, onSkip: OnSkip) => Promise<Part>;
}

/** Options for reading any kind of part. */
export interface ReadOptions {
  readonly language: string;
  /** The folder of a list's images; default the list's folder. */
  readonly images?: string;
  /** Whether a record must have an image, or its image is ignored; default it may have one. */
  readonly pictured?: boolean;
  /** The splits of a list to read; default all that it has. */
  readonly splits?: readonly string[];
}
