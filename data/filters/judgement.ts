/** What filters answer. */
import type { RawSample } from "../samples.ts";

/** The reason to drop a sample, or the sample, perhaps with fewer captions. */
export type Judgement = { readonly dropped: string } | { readonly kept: RawSample };

/** FileError when the sample's picture cannot be read. */
export type Judge = (raw: RawSample) => Promise<Judgement>;

export interface Filter {
  /** As it was written. */
  readonly text: string;
  readonly judge: Judge;
}
