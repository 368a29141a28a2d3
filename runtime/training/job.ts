/** Training jobs: a compiled step, the data it is fed, and what is done with the result. A job file exports one. */

import type { Backend, RunOptions } from "../../backends/backend.ts";
import {
  type ArenaLayout,
  type Graph,
  type HostTensor,
  inputName,
  isParameter,
  type Node,
  type Precision,
  type QuantizedParameter,
  type Sizes,
  type TensorType,
} from "../../compiler/index.ts";
import type { Divided, SettingRules } from "../../dsl/index.ts";
import type { Json } from "../checkpoint/state-file.ts";
import type { Range } from "../collectives/index.ts";
import type { LowRankAdapter } from "./adapters.ts";
import type { CheckpointFamily } from "./inherit.ts";
import type { LossPoint } from "./losses.ts";

/** A training step as the language compiles it. */
export interface CompiledStep {
  /** Of a step, or of one micro-batch of it. */
  readonly graph: Graph;
  /** Where micro-batches are accumulated: how many make a step, the graph that ends it, and what is kept between, 0 at first. */
  readonly accumulation?: {
    readonly count: number;
    readonly update: Graph;
    readonly sums: readonly { readonly name: string; readonly type: TensorType }[];
    /**
     * Where the loss compares samples: `features` keeps what each sample gives it, `middle` then gives the loss and the
     * cotangents of that for the whole batch, and `graph` adds the gradients of one micro-batch. Only `graph` and `features` are fed.
     */
    readonly cached?: { readonly features: Graph; readonly middle: Graph };
    /**
     * Where ranks share the micro-batches, names in the store: sums that are added up before `update`, rows along an axis
     * that are gathered before `middle`, sums of such rows that each is given of its own after it, and the number of a rank's first micro-batch, 0 at first.
     */
    readonly shared?: {
      readonly added: readonly string[];
      readonly gathered: readonly { readonly state: string; readonly axis: string }[];
      readonly addedByRows?: readonly { readonly state: string; readonly axis: string }[];
      readonly first?: string;
      /** Where each rank keeps a part of the optimizer's state: its range of each arena, and where what it reads there goes. */
      readonly shard?: {
        readonly ranges: readonly Range[];
        readonly gradients: readonly { readonly sum?: string; readonly part: string }[];
        readonly norm: string;
        /**
         * What else is in parts. The graphs then read parameters as tensors of their own, which are ranges of arenas in the
         * store or come from all ranks, and give out gradients: of which output is of which parameter, `given` says.
         */
        readonly divided?: { readonly what: Divided; readonly given: ReadonlyMap<string, string> };
      };
    };
  };
  /** True where inputs say by number which of a batch's rows belong to a sample: a batch is then fed whole. */
  readonly apart?: boolean;
  /**
   * The same step of so many micro-batches of all ranks together; of several sizes, where uneven. With `shard`, a rank updates its
   * range alone of an arena of so many elements.
   */
  readonly inParts?: (parts: {
    readonly count: number;
    readonly isUneven: boolean;
    readonly own: { readonly first: number; readonly count: number };
    readonly shard?: (elements: number) => Range;
    readonly divided?: Divided;
    readonly largestArena?: number;
  }) => CompiledStep;
  /** Where the trained parameters and the optimizer's state lie, and the names of those tensors in the store. */
  readonly arenas: readonly {
    readonly layout: ArenaLayout;
    readonly parameters: string;
    /** By the names of the update rule. */
    readonly state: Readonly<Record<string, string>>;
    /** The average of the parameters, where the step keeps one; all arenas have it or none. */
    readonly average?: string;
  }[];
  /** The update rule's name, and what each state that it keeps starts as: a number, or the parameter's first value. */
  readonly rule: { readonly name: string; readonly state: Readonly<Record<string, number | "parameter">> };
  /** What the optimizer is set to, for people: rate, decay, clipping. */
  readonly hyperparameters?: Readonly<Record<string, string>>;
  readonly trained: readonly Node[];
  readonly frozen: readonly Node[];
  /** What the store keeps frozen parameters as, where that is not f32: which are f16, and which integers with scales. */
  readonly frozenAs?: {
    readonly dtype: string;
    readonly halves: readonly string[];
    readonly quantized: readonly QuantizedParameter[];
  };
  /** Which of the trained parameters are low-rank updates of frozen ones, by their names; none where left out. */
  readonly adapters?: readonly LowRankAdapter[];
  /** Further state that the step keeps, with what its elements are at first. */
  readonly kept: readonly { readonly name: string; readonly type: TensorType; readonly initial: number }[];
  /** The name of the counter of steps in the store. */
  readonly counter: string;
  /** What the step is compiled for. */
  readonly precision: Precision;
  /** The scale of the loss in the store, and what it is at first; none in f32. One that adapts counts its good steps. */
  readonly lossScale?: { readonly state: string; readonly initial: number; readonly goodSteps?: string };
}

export interface TrainingBatch {
  /** By input name. */
  readonly feeds: Readonly<Record<string, HostTensor>>;
  /** What the samples along the axis "batch" are called, in messages on what is wrong with one. */
  readonly names?: readonly string[];
  /** Where the data goes on after this batch; saved with checkpoints. */
  readonly next: Json;
}

/** The ranks that read a job's batches, and which rows of a step this one computes. */
export interface SharedRows {
  readonly rank: number;
  readonly size: number;
  readonly owns: (row: number) => boolean;
  /** Whose a row of a step is. */
  readonly rankOf: (row: number) => number;
  /** Gives all ranks what each says on a channel of its own, in the order of calls for that. It must be JSON. */
  readonly exchange: <T>(channel: number, own: T) => Promise<readonly T[]>;
}

/** A training as it runs: a compiled step, its sizes, the batches that it is fed, and what is done beside and after it. */
export interface TrainingJob {
  readonly step: CompiledStep;
  /** Updates; where micro-batches are accumulated, each is made of several batches. */
  readonly steps: number;
  /** Numbers for the symbolic sizes, `batch` among them. */
  readonly sizes: Sizes;
  readonly seed: number;
  /** Steps between checkpoints. */
  readonly checkpointEvery: number;
  /** A checkpoint is saved after so many minutes as well. Default: 10. */
  readonly checkpointMinutes?: number;
  /** Endless batches from a cursor on; `undefined` is the beginning. Several ranks each read all of them, and keep their rows. */
  readonly batches: (
    cursor: Json | undefined,
    note: (text: string) => void,
    shared?: SharedRows,
  ) => AsyncIterable<TrainingBatch>;
  /** Feeds that have zeros where rows are another rank's, when `batches` is told which rows are this one's. */
  readonly ownRows?: readonly string[];
  /** Tensors to start from instead of the initializers, by parameter name; frozen parameters may be among them. */
  readonly initial?: (name: string) => Promise<HostTensor | undefined>;
  /** The whole model where the loss uses a part of it: the other parameters start alike and are kept with the weights. */
  readonly model?: Graph;
  /** What its model knows of checkpoints, for `--from`; without, tensors are found by the names of parameters alone. */
  readonly checkpoints?: CheckpointFamily;
  /** What tells this data from other data: it must be the same on all ranks. */
  readonly listing?: string;
  /** What is known of the data read up to a cursor, such as what was skipped: kept beside each checkpoint and in summary.json. */
  readonly told?: (cursor: Json) => Readonly<Record<string, Json>>;
  /** For people, told before the first step. */
  readonly report?: readonly string[];
  /** Frees what the batches hold; called once, however the run ends. */
  readonly dispose?: () => Promise<void>;
  /** How well the weights do on data that is not trained on, while they are trained. */
  readonly validate?: Validation;
  /** What is done with the trained weights; its result goes into summary.json. */
  readonly finish?: (run: TrainedRun) => Promise<Readonly<Record<string, Json>>>;
  /** Stages that follow, each from the weights of the one before. */
  readonly next?: readonly NextStage[];
}

/** A stage after others. It is built when its turn comes. */
export interface NextStage {
  /** Names the stage, and its folder in that of the run. */
  readonly name: string;
  readonly build: () => TrainingJob | Promise<TrainingJob>;
}

/** What became of a stage. */
export interface FinishedStage {
  readonly name: string;
  readonly folder: string;
  readonly steps: number;
  /** Wall time of the process that ended its training, of the part that it did. */
  readonly seconds: number;
  readonly losses: readonly LossPoint[];
  readonly loss: { readonly first: number | null; readonly last: number | null };
  /** What the training told besides: time lost, and the best weights of a validation. */
  readonly told: Readonly<Record<string, Json>>;
  /** What its `finish` gave. */
  readonly result: Readonly<Record<string, Json>>;
}

/** Figures of the weights that a run would write: averages and low-rank updates included. */
export interface Validation {
  /** Steps between; the last step of a run is validated as well. */
  readonly every: number;
  /**
   * Figures by name, which the logs have as `validation/<name>`. A resumed run asks for steps again that it lost: what this
   * gives may depend on the step and on the weights alone.
   */
  readonly run: (run: ValidationRun) => Promise<Readonly<Record<string, number>>>;
  /** By which figure the weights are chosen that are kept in `best/`; none are where left out. */
  readonly best?: { readonly metric: string; readonly mode: "max" | "min" };
}

/** What a validation is given. */
export interface ValidationRun {
  readonly step: number;
  readonly backend: Backend;
  /**
   * Runs a graph of the model, parameters by their own names, where the weights are: only its outputs are read back.
   * It is compiled at its first use: hand in the same graph each time.
   */
  readonly evaluate: (
    graph: Graph,
    feeds: Readonly<Record<string, HostTensor>>,
    options?: RunOptions,
  ) => Promise<Record<string, HostTensor>>;
  /** All weights, read back: slow for a large model. */
  readonly weights: () => Promise<ReadonlyMap<string, HostTensor>>;
  readonly note: (text: string) => void;
}

/** What `finish` is given. */
export interface TrainedRun {
  readonly folder: string;
  readonly backend: Backend;
  /** Why this device was taken, for people. */
  readonly deviceReason: string;
  /** All parameters by name, the frozen ones included. */
  readonly weights: ReadonlyMap<string, HostTensor>;
  readonly losses: readonly LossPoint[];
  readonly seconds: number;
  readonly note: (text: string) => void;
  /** The stages before this one. */
  readonly earlier: readonly FinishedStage[];
}

export type Setting = number | string | boolean;

/** What a job file exports: settings with defaults, and the job they make. */
export interface JobFile<C extends Readonly<Record<string, Setting>> = Readonly<Record<string, Setting>>> {
  readonly kind: "heddle.job";
  /** Names the run's folder. */
  readonly name: string;
  readonly summary: string;
  readonly config: C;
  /** What the settings may be; those named as numbers of a TrainingJob have the rules of these. */
  readonly rules?: SettingRules;
  /** Settings with another value of which a run may go on; steps, checkpointEvery and checkpointMinutes always are. */
  readonly mayChange?: readonly (keyof C & string)[];
  readonly build: (config: C) => Promise<TrainingJob>;
}

/** Parameters of a job's model that its loss does not use. */
export function unusedParameters({ model, step }: Pick<TrainingJob, "model" | "step">): Node[] {
  const used = new Set([
    ...step.trained.map(inputName),
    ...step.frozen.map(inputName),
    ...step.kept.map((k) => k.name),
  ]);
  return (model?.inputs ?? []).filter((n) => isParameter(n) && !used.has(inputName(n)));
}
