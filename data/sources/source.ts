/** What every place that samples come from answers to: shards, folders and lists alike. */
import type { OnSkip } from "../files.ts";
import type { ListedFile } from "../listing.ts";
import type { RawSample } from "../samples.ts";

/** One shard, folder or list, opened: how many samples it has, and each of them by its number. */
export interface Part {
  readonly count: number;
  /** What messages call a sample. */
  readonly name: (index: number) => string;
  /** FileError, saying why, where the sample is broken. */
  readonly read: (index: number) => Promise<RawSample>;
}

/** The samples of one spec, in parts that are opened one at a time. */
export interface Source {
  readonly spec: string;
  readonly weight: number;
  readonly parts: readonly string[];
  /** What a part is, in the singular: shard, folder, list. */
  readonly partName: string;
  /** Whether opening a part costs a look at a folder, and not reading it. */
  readonly isListed: boolean;
  /** The classes of its samples, sorted. */
  readonly classes?: readonly string[];
  /** The files that its samples lie in, in the order of parts; the pictures that a list names are not among them. */
  readonly files: () => Promise<readonly ListedFile[]>;
  /** What is wrong with a part, but does not make it useless, goes to `onSkip`. */
  readonly open: (part: number, onSkip: OnSkip) => Promise<Part>;
}

/** How samples are read from a path, whatever it is. */
export interface ReadOptions {
  readonly language: string;
  /** The folder that the pictures of a list lie in; default the folder of the list. */
  readonly images?: string;
}
