/** A training step as one graph, or several: from a batch to updated parameters. */
import { constantInit, type Graph, type Node, type Precision, type TensorType } from "../compiler/index.ts";
import { checkedEma } from "./ema.ts";
import type { FrozenWeights } from "./frozen.ts";
import type { Adapter } from "./lora.ts";
import type { BufferStart } from "./nn/buffer.ts";
import { placeArenas, type TrainingArena } from "./optim/arenas.ts";
import { apartFromArenas, inArenas } from "./optim/batch-gradient.ts";
import { describeOptimizer } from "./optim/describe.ts";
import type { LossScale } from "./optim/loss-scale.ts";
import { type Parts, shardsOf } from "./optim/parts.ts";
import { rangesOf, ruleOf, settingsByName } from "./optim/settings.ts";
import { type AccumulationGraphs, batchGraphs } from "./optim/step-graphs.ts";
import { stepUpdate } from "./optim/step-update.ts";
import type { StateStart } from "./optim/update-rule.ts";
import { contractedParameters } from "./partition.ts";
import type { Stage } from "./stage.ts";
import { traceStage } from "./traced-stage.ts";
import { trainingState } from "./training-state.ts";

export type { Parts } from "./optim/parts.ts";
export type { AccumulationGraphs } from "./optim/step-graphs.ts";

/** The graphs of a stage, and the state that persists between steps. */
export interface TrainingStep {
  /**
   * Outputs `loss`, `rate`, `gradient_norm` and the metrics; updates the training state. With accumulation it only adds
   * the gradients and metrics of one micro-batch to their sums.
   */
  readonly graph: Graph;
  readonly accumulation?: AccumulationGraphs;
  /** True if inputs index the rows of a batch that belong to a sample: a batch is then fed whole. */
  readonly apart?: boolean;
  /** The same step, with `count` micro-batches in total, divided among processes. */
  readonly inParts: (parts: Parts) => TrainingStep;
  /** The arenas that hold the trained parameters and the optimizer state. */
  readonly arenas: readonly TrainingArena[];
  /** The update rule's name, and the initial value of each of its states. */
  readonly rule: { readonly name: string; readonly state: Readonly<Record<string, StateStart>> };
  /** The optimizer's settings, as human-readable text. */
  readonly hyperparameters: Readonly<Record<string, string>>;
  /** Parameter nodes, with their initializers. */
  readonly trained: readonly Node[];
  readonly frozen: readonly Node[];
  /** How frozen parameters are stored, if not as f32. */
  readonly frozenAs?: FrozenWeights;
  /** The low-rank updates among the trained parameters, with the frozen weights they belong to. */
  readonly adapters: readonly Adapter[];
  /** The buffers that the step updates, with what they are before the first step. */
  readonly kept: readonly { readonly name: string; readonly type: TensorType; readonly initial: BufferStart }[];
  /** The name of the step counter in the store: an i32 scalar. */
  readonly counter: string;
  /** The precision to compile the step for. */
  readonly precision: Precision;
  /** The loss scale; undefined in f32. */
  readonly lossScale?: LossScale;
}

/**
 * Lowers a stage to its training step. Parameters lie in arenas of at most `largestArena` elements, default 2^28.
 * Throws UsageError if a pattern matches nothing or nothing is left to train.
 */
export const trainingStep = (stage: Stage, largestArena?: number): TrainingStep => stepOf(stage, largestArena);

function stepOf(given: Stage, largestArena: number | undefined, parts?: Parts): TrainingStep {
  const stage: Stage = parts ? { ...given, accumulate: parts.count } : given;
  const of = traceStage(stage);
  const { trained, apart } = of.traced;
  const rule = ruleOf(stage);
  const ema = stage.ema && checkedEma(stage.name, stage.ema);
  const ranges = rangesOf(stage, trained, of.declared);
  const placed = placeArenas(trained, rule, ema !== undefined, parts?.largestArena ?? largestArena);
  const shards = parts?.shard && shardsOf(placed, parts.shard, rule, parts.divided);
  const arenas = parts?.divided ? apartFromArenas(of.traced.loss, trained) : inArenas(placed, trained);
  const isOneBatch = (given.accumulate ?? 1) === 1;
  const { whole, graphs } = batchGraphs({
    stage,
    isOneBatch,
    traced: of.traced,
    arenas,
    weight: of.weight,
    parts,
    shards,
  });
  const { optimizer, precision = "f32" } = stage;
  const settings = settingsByName(stage, trained, contractedParameters(of.loss));
  const options = { optimizer, rule, ema, settings, ranges, lossScale: of.lossScale };
  const update = shards
    ? stepUpdate(whole, shards.places, options, shards.numbers)
    : stepUpdate(whole, placed, options);
  return {
    ...graphs(update),
    inParts: (among) => stepOf(given, largestArena, among),
    ...(apart && { apart }),
    arenas: placed.map((place) => place.arena),
    rule,
    hyperparameters: describeOptimizer(optimizer, rule),
    trained,
    frozen: of.frozen,
    ...(of.frozenAs.dtype !== "f32" && { frozenAs: of.frozenAs }),
    adapters: of.adapters,
    kept: of.updates.map(({ name, next, initial }) => ({
      ...{ name, type: next.type },
      initial: typeof initial === "number" ? constantInit(initial) : initial,
    })),
    counter: trainingState.step,
    precision,
    ...(of.lossScale && { lossScale: of.lossScale }),
  };
}
