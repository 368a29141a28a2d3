/** Options and results of the protocols of `heddle evaluate`. */
import type { Section } from "../../../runtime/index.ts";
import type { Reason } from "../data.ts";
import type { NamedModel } from "../run/opened-model.ts";
import type { RunOptions } from "../run/options.ts";

export interface EvaluateOptions extends RunOptions {
  readonly protocol: string;
  /** Data specs, as `openData` reads them, or files of questions. */
  readonly data: readonly string[];
  /** The image folder of a list. */
  readonly images?: string;
  readonly out?: string;
  readonly labels?: string;
  readonly templates?: string;
  readonly language?: string;
  readonly prefix?: string;
  /** A file of answers, if not stored with the questions. */
  readonly answers?: string;
  readonly imageName?: string;
  /** Appended to every question. */
  readonly suffix?: string;
  readonly template?: string;
  /** The prompt of captions. */
  readonly prompt?: string;
  readonly maxTokens?: number;
  /** Training data; --data is the test data. */
  readonly train?: readonly string[];
  readonly feature?: string;
  readonly c?: number;
  readonly k?: number;
  readonly temperature?: number;
  /** Stride of windows, in tokens. */
  readonly stride?: number;
  readonly epochs?: number;
  readonly rate?: number;
  /** Training samples per class; default all. */
  readonly shots?: readonly number[];
  readonly draws?: number;
  readonly seed?: number;
  /** Frames sampled from a video. */
  readonly frames?: number;
  /** The annotation value of the first class. */
  readonly firstClass?: number;
}

/** Metrics by name, in groups: languages, directions, tasks. */
export interface Results {
  readonly [name: string]: number | Results;
}

export interface Outcome {
  /** The number of samples evaluated. */
  readonly samples: number;
  readonly results: Results;
  /** The evaluation settings, for comparing results. */
  readonly asked?: Readonly<Record<string, string | number>>;
  /** Skipped samples, by reason. */
  readonly skipped: readonly Reason[];
  /** The answer for each sample, for answers.jsonl. */
  readonly answers?: readonly object[];
  /** Further sections of the page. */
  readonly sections?: readonly Section[];
}

export interface Protocol {
  readonly summary: string;
  /** The protocol's own options. */
  readonly takes: readonly (keyof EvaluateOptions)[];
  run(named: NamedModel, options: EvaluateOptions): Promise<Outcome>;
}
