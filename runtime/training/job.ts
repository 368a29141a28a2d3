/** Training jobs: a compiled step, its data, and what is done with the result. A job file exports one. */

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
import type { BufferStart, Divided, SettingRules } from "../../dsl/index.ts";
import type { Json } from "../checkpoint/state-file.ts";
import type { Range } from "../collectives/index.ts";
import type { LowRankAdapter } from "./adapters.ts";
import type { CheckpointFamily } from "./inherit.ts";
import type { LossPoint } from "./losses.ts";

/** A training step as compiled by the DSL. */
export interface CompiledStep {
  /** The graph of a step, or of one micro-batch. */
  readonly graph: Graph;
  /**
   * With gradient accumulation: the number of micro-batches per step, the graph that applies the update, and the
   * accumulators in the store, initially 0.
   */
  readonly accumulation?: {
    readonly count: number;
    readonly update: Graph;
    readonly sums: readonly { readonly name: string; readonly type: TensorType }[];
    /**
     * When the loss compares samples (gradient caching): `features` stores each sample's features, `middle` computes
     * the loss of the whole batch and its cotangents for them (with `inShares` in as many runs as there are
     * micro-batches), and `graph` then accumulates the gradients of one micro-batch. Only `graph` and `features` are
     * fed.
     */
    readonly cached?: { readonly features: Graph; readonly middle: Graph; readonly inShares?: boolean };
    /** Run before `update` when optimizer state is sharded and its rule sums over whole parameters. */
    readonly terms?: Graph;
    /**
     * When ranks share the micro-batches, names in the store: sums to be reduced before `update`; rows along an axis to
     * be gathered before `middle`; sums of such rows to be reduce-scattered after it; and the index of the rank's first
     * sample, initially 0.
     */
    readonly shared?: {
      readonly added: readonly string[];
      readonly gathered: readonly { readonly state: string; readonly axis: string }[];
      readonly addedByRows?: readonly { readonly state: string; readonly axis: string }[];
      readonly first?: string;
      /**
       * When the optimizer's state is sharded: the rank's range of each arena, and where its part of the gradients
       * goes.
       */
      readonly shard?: {
        readonly ranges: readonly Range[];
        readonly gradients: readonly { readonly sum?: string; readonly part: string }[];
        readonly norm: string;
        /** The update rule's sums over whole parameters, all-reduced between `terms` and `update`. */
        readonly sums?: { readonly name: string; readonly type: TensorType };
        /** The rank's ranges of the moving average, by arena. */
        readonly averages?: readonly string[];
        /**
         * What else is sharded. The graphs then read parameters as separate tensors, which are ranges of arenas in the
         * store or gathered from all ranks, and output gradients; `given` maps outputs to parameters.
         */
        readonly divided?: { readonly what: Divided; readonly given: ReadonlyMap<string, string> };
      };
    };
  };
  /** True when inputs refer to rows of their batch by index, so that a batch cannot be split. */
  readonly apart?: boolean;
  /**
   * The same step with `count` micro-batches over all ranks; with `uneven` they differ in size, and the rank has the
   * samples [from, to) of `all`. With `shard`, a rank updates only its range of an arena with the given number of
   * elements.
   */
  readonly inParts?: (parts: {
    readonly count: number;
    readonly uneven?: { readonly all: number; readonly from: number; readonly to: number };
    readonly own: { readonly first: number; readonly count: number };
    readonly shard?: (elements: number) => Range;
    readonly divided?: Divided;
    readonly largestArena?: number;
  }) => CompiledStep;
  /** The arenas of the trained parameters and the optimizer's state, and their names in the store. */
  readonly arenas: readonly {
    readonly layout: ArenaLayout;
    readonly parameters: string;
    /** By the update rule's names. */
    readonly state: Readonly<Record<string, string>>;
    /** The moving average of the parameters, if the step keeps one; either all arenas have it or none. */
    readonly average?: string;
  }[];
  /**
   * The update rule's name, and the initial value of each of its states: a number, or the parameter's initial value.
   */
  readonly rule: { readonly name: string; readonly state: Readonly<Record<string, number | "parameter">> };
  /** The optimizer's settings, for display: rate, decay, clipping. */
  readonly hyperparameters?: Readonly<Record<string, string>>;
  readonly trained: readonly Node[];
  readonly frozen: readonly Node[];
  /**
   * The storage form of frozen parameters in the store, if not f32: which are f16, and which are integers with scales.
   */
  readonly frozenAs?: {
    readonly dtype: string;
    readonly halves: readonly string[];
    readonly quantized: readonly QuantizedParameter[];
  };
  /** Which trained parameters are low-rank updates of frozen ones, by name; default none. */
  readonly adapters?: readonly LowRankAdapter[];
  /** Buffers that the step updates, and what they are before the first: drawn, or a parameter's initial value. */
  readonly kept: readonly {
    readonly name: string;
    readonly type: TensorType;
    readonly initial: BufferStart;
  }[];
  /** The name of the step counter in the store. */
  readonly counter: string;
  /** The precision that the step is compiled for. */
  readonly precision: Precision;
  /**
   * The loss scale in the store, and its initial value; none in f32. An adaptive one counts its consecutive good steps.
   */
  readonly lossScale?: { readonly state: string; readonly initial: number; readonly goodSteps?: string };
}

/** One batch of a training job: its feeds, and where the data goes on. */
export interface TrainingBatch {
  /** By input name. */
  readonly feeds: Readonly<Record<string, HostTensor>>;
  /** Names of the samples along the axis "batch", for error messages. */
  readonly names?: readonly string[];
  /** Where the data continues after this batch; saved in checkpoints. */
  readonly next: Json;
}

/** The ranks that read a job's batches, and the assignment of a step's rows to them. */
export interface SharedRows {
  readonly rank: number;
  readonly size: number;
  readonly owns: (row: number) => boolean;
  /** The rank that computes a row of a step. */
  readonly rankOf: (row: number) => number;
  /** Gathers every rank's value, which must be JSON, on a channel; calls are ordered per channel. */
  readonly exchange: <T>(channel: number, own: T) => Promise<readonly T[]>;
}

/** A training run: a compiled step, its sizes, the batches, and what is done during and after it. */
export interface TrainingJob {
  readonly step: CompiledStep;
  /** Number of updates; with gradient accumulation, each takes several batches. */
  readonly steps: number;
  /** Values of the symbolic sizes, including `batch`. */
  readonly sizes: Sizes;
  readonly seed: number;
  /** Steps between checkpoints. */
  readonly checkpointEvery: number;
  /** Maximum minutes between checkpoints. Default: 10. */
  readonly checkpointMinutes?: number;
  /**
   * An endless stream of batches from a cursor on; `undefined` is the beginning. With several ranks, each reads all
   * batches, and keeps its own rows.
   */
  readonly batches: (
    cursor: Json | undefined,
    note: (text: string) => void,
    shared?: SharedRows,
  ) => AsyncIterable<TrainingBatch>;
  /** Feeds that are zero in other ranks' rows when `batches` is given `shared`. */
  readonly ownRows?: readonly string[];
  /** Initial tensors that replace the initializers, by parameter name; frozen parameters may be included. */
  readonly initial?: (name: string) => Promise<HostTensor | undefined>;
  /**
   * The whole model, when the loss uses only a part: the other parameters are initialized likewise, and written with
   * the weights.
   */
  readonly model?: Graph;
  /** The model's knowledge of checkpoints, for `--from`; without it, tensors are found only by parameter names. */
  readonly checkpoints?: CheckpointFamily;
  /** Identifies the data; must be the same on all ranks. */
  readonly listing?: string;
  /**
   * Statistics of the data read up to a cursor, such as skipped samples; saved beside each checkpoint and in
   * summary.json.
   */
  readonly told?: (cursor: Json) => Readonly<Record<string, Json>>;
  /** Lines shown before the first step. */
  readonly report?: readonly string[];
  /** Releases the batches' resources; called once, however the run ends. */
  readonly dispose?: () => Promise<void>;
  /** Evaluation on held-out data during training. */
  readonly validate?: Validation;
  /** Processes the trained weights; its result goes into summary.json. */
  readonly finish?: (run: TrainedRun) => Promise<Readonly<Record<string, Json>>>;
  /** The stages that follow, each initialized from the weights of the one before. */
  readonly next?: readonly NextStage[];
}

/** A stage after others. It is built only when it is due. */
export interface NextStage {
  /** The name of the stage, and of its folder inside the run's. */
  readonly name: string;
  readonly build: () => TrainingJob | Promise<TrainingJob>;
}

/** The result of a stage. */
export interface FinishedStage {
  readonly name: string;
  readonly folder: string;
  readonly steps: number;
  /** Wall time of the process that finished its training, excluding earlier processes. */
  readonly seconds: number;
  readonly losses: readonly LossPoint[];
  readonly loss: { readonly first: number | null; readonly last: number | null };
  /** Further results of the training: time lost, and the best weights by validation. */
  readonly told: Readonly<Record<string, Json>>;
  /** The result of its `finish`. */
  readonly result: Readonly<Record<string, Json>>;
}

/** Metrics of the weights that a run would write, with averages and merged low-rank updates. */
export interface Validation {
  /** Steps between validations; the last step of a run is always validated. */
  readonly every: number;
  /**
   * Returns metrics by name, which are logged as `validation/<name>`. A resumed run repeats the steps it lost, so the
   * result may depend only on the step and the weights.
   */
  readonly run: (run: ValidationRun) => Promise<Readonly<Record<string, number>>>;
  /** The metric that selects the weights kept in `best/`; by default none are kept. */
  readonly best?: { readonly metric: string; readonly mode: "max" | "min" };
}

/** The argument of a validation. */
export interface ValidationRun {
  readonly step: number;
  readonly backend: Backend;
  /**
   * Runs a graph of the model, parameters by their own names, on the device's weights: only its outputs are read back.
   * It is compiled on first use, so pass the same graph object each time.
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

/** The argument of `finish`. */
export interface TrainedRun {
  readonly folder: string;
  readonly backend: Backend;
  /** Why this device was chosen, for display. */
  readonly deviceReason: string;
  /** All parameters by name, including frozen ones. */
  readonly weights: ReadonlyMap<string, HostTensor>;
  readonly losses: readonly LossPoint[];
  readonly seconds: number;
  readonly note: (text: string) => void;
  /** The stages before this one. */
  readonly earlier: readonly FinishedStage[];
}

/** The value of a job's setting. */
export type Setting = number | string | boolean;

/** What a job file exports: settings with defaults, and the function that builds a job from them. */
export interface JobFile<C extends Readonly<Record<string, Setting>> = Readonly<Record<string, Setting>>> {
  readonly kind: "heddle.job";
  /** The name of the run's folder. */
  readonly name: string;
  readonly summary: string;
  readonly config: C;
  /** Constraints on the settings; settings named like numbers of a TrainingJob also have the constraints of those. */
  readonly rules?: SettingRules;
  /** Settings that may change when a run is resumed; steps, checkpointEvery and checkpointMinutes always may. */
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
