/** What every protocol of `heddle evaluate` is given, and what it gives. */
import type { Section } from "../../../runtime/index.ts";
import type { Reason } from "../data.ts";
import type { NamedModel } from "../run/opened-model.ts";
import type { RunOptions } from "../run/options.ts";

export interface EvaluateOptions extends RunOptions {
  readonly protocol: string;
  /** Specs of data, as `openData` reads them, or files of questions. */
  readonly data: readonly string[];
  /** The folder that the pictures of a list lie in. */
  readonly images?: string;
  readonly out?: string;
  readonly labels?: string;
  readonly templates?: string;
  readonly language?: string;
  readonly prefix?: string;
  /** A file of answers, where they do not stand with the questions. */
  readonly answers?: string;
  readonly imageName?: string;
  /** What follows every question. */
  readonly suffix?: string;
  readonly template?: string;
  /** What captions go on from, or are asked for with. */
  readonly prompt?: string;
  readonly maxTokens?: number;
  /** What is learned from, as --data names what is judged by. */
  readonly train?: readonly string[];
  readonly feature?: string;
  readonly c?: number;
  readonly k?: number;
  readonly temperature?: number;
  /** Tokens from the end of one window to that of the next. */
  readonly stride?: number;
  readonly epochs?: number;
  readonly rate?: number;
  /** Samples of each class that are learned from; default all. */
  readonly shots?: readonly number[];
  readonly draws?: number;
  readonly seed?: number;
  /** Frames of a video that are looked at. */
  readonly frames?: number;
  /** The number that annotations have for the first class. */
  readonly firstClass?: number;
}

/** Numbers by name, in groups: languages, directions, tasks. */
export interface Results {
  readonly [name: string]: number | Results;
}

export interface Outcome {
  /** Samples that the results are of. */
  readonly samples: number;
  readonly results: Results;
  /** How the model was asked, for whoever compares results. */
  readonly asked?: Readonly<Record<string, string | number>>;
  /** What was passed over, by reason. */
  readonly skipped: readonly Reason[];
  /** What was said of each sample, for answers.jsonl. */
  readonly answers?: readonly object[];
  /** What the page shows beside the numbers. */
  readonly sections?: readonly Section[];
}

export interface Protocol {
  readonly summary: string;
  /** The options that it takes beside those that all take. */
  readonly takes: readonly (keyof EvaluateOptions)[];
  run(named: NamedModel, options: EvaluateOptions): Promise<Outcome>;
}
