/** The result of filters. */
import type { RawSample } from "../samples.ts";

/** The reason to drop a sample, or the kept sample, possibly with fewer captions. */
export type Judgement = { readonly dropped: string } | { readonly kept: RawSample };

/** FileError when the sample's image cannot be read. */
export type Judge = (raw: RawSample) => Promise<Judgement>;

export interface Filter {
  /** The filter's original text. */
  readonly text: string;
  readonly judge: Judge;
}
